"""Making the store that training reads from tables with headers, folders of images and other files."""

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.data.engines.beam import Beam
from mmcl_jax.data.engines.engine import Engine, Processes
from mmcl_jax.data.format import writing
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import writing as naming
from mmcl_jax.lock import locked
from mmcl_jax.prepare.assemble import Assembler
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.report import add_entries, add_images, card, foreseen, report
from mmcl_jax.prepare.entries.boxes import read_boxes
from mmcl_jax.prepare.gather import GatheredEntries, check_left, gather
from mmcl_jax.prepare.images.entries import image_sources
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.images.pixels import Pixels, decode_rows
from mmcl_jax.prepare.inspection import inspect
from mmcl_jax.prepare.leaks import near_groups
from mmcl_jax.prepare.like import open_like
from mmcl_jax.prepare.recipe import Recipe, joined_with
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import template
from mmcl_jax.progress import Bar

_SCRATCH = ".beam"  # the folder of the unfinished store through which Beam's workers and this process exchange files


def prepare(
    request: Request,
    out: Path,
    *,
    recipe: Recipe | None = None,
    workers: int = 1,
    beam: Sequence[str] = (),
    progress: bool = False,
) -> Store:
    """Write the store `out`, which appears complete or not at all.

    If it is stopped and called again with the same request, it continues with the images that are not decoded yet.

    Args:
      request: what to prepare.
      out: the folder of the store; it must not exist.
      recipe: a named data set, which provides the table and the folder of the images.
      workers: number of processes. With more than one, call this under `if __name__ == "__main__":`.
      beam: options of a pipeline of Apache Beam that decodes the images and writes the shards, such as
        "runner=DirectRunner"; by default processes of this machine do.
      progress: whether to show progress bars.

    Returns:
      The opened store.

    Raises:
      UserError: something is wrong with the input; the message names the file, row or column. Nothing is left behind.
    """
    check(not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
    request, like = open_like(request)
    asked, request = request, joined_with(request, recipe)
    asked = asked.with_pictures_of(request)  # later images are made to fit in the same way
    quarantine = request.quarantine(recipe.required if recipe else ())
    # Workers of Beam on other machines have other working directories.
    partial = (out.absolute() if beam else out).with_name(f".{out.name}.partial")
    engine: Engine = Beam(beam, partial / _SCRATCH, workers) if beam else Processes(workers)
    gathered = gather(request, recipe, quarantine, like)
    rows = gathered.rows
    with claimed(partial, _identity(request, recipe, gathered)):
        pixels: dict[str, Pixels] = {}
        for source in image_sources(request, recipe, gathered.join, like.schema if like else None):
            of = pixels.get(source.of)
            pixels[source.name] = decode_rows(
                source, request, rows, quarantine, partial, of=of, engine=engine, progress=progress
            )
        image = next((image for image in pixels.values() if image.source.kind == "image"), None)
        if like is not None:
            for name, decoded in pixels.items():
                like.check_images(name, decoded.entry)
        boxes = {
            name: read_boxes(
                target,
                pixels[target.source.of],
                rows,
                quarantine,
                most=like.schema.entries[name].shape[0] if like else 0,
            )
            for name, target in gathered.join.entries.items()
            if target.source.kind == "boxes"
        }
        for name in boxes:
            present = int((gathered.join.entries[name].at >= 0).sum())
            quarantine.refuse_entry(request.max_bad, present, name)
        rows.refuse(quarantine, request.max_bad)
        if gathered.join.entries:
            gathered = gathered.usable(quarantine)
            rows = gathered.rows
        kept = check_left(rows, quarantine)
        alike = None
        thumbs = None if image is None else np.load(image.thumbs, mmap_mode="r", allow_pickle=False)
        if request.group_near_duplicates:
            alike = _alike(image, kept)
        inspected = inspect(gathered, kept, request, recipe, alike=alike, like=like)
        assembled = Assembler(gathered, inspected, pixels, boxes, partial, like).content()
        with Bar("shards", len(kept), quiet=not progress) as bar:
            title = f"{', '.join(assembled.content.parts)} of {Path(rows.source).name}"
            schema = writing.write(partial, assembled.content, description=title, engine=engine, progress=bar.advance)
        findings = report(rows, inspected, quarantine, recipe, seed=request.seed)
        add_entries(findings, gathered, assembled, quarantine)
        if alike is not None:
            sizes = np.bincount(alike)
            findings.alike.update(
                groups=int((sizes > 1).sum()), rows=int(sizes[sizes > 1].sum()), largest=int(sizes.max())
            )
        if image is not None and thumbs is not None:
            listed = gathered.ids is not None or bool(rows.named("split"))
            add_images(findings, rows, inspected, image, thumbs, splits_given=listed)
        (partial / "findings.json").write_text(findings.to_json())
        (partial / "card.html").write_text(card(findings, schema, assembled, quarantine.entries))
        quarantine.write(partial / "quarantine.jsonl")
        for decoded in pixels.values():
            for path in (decoded.thumbs, decoded.thumbs.with_name("journal.jsonl")):
                path.unlink()
        for folder in (".decoding", _SCRATCH):
            shutil.rmtree(partial / folder, ignore_errors=True)
        (partial / "request.sha256").unlink()
        made_by = {
            "request": asked.to_json(),
            "recipe": recipe.origin() if recipe else None,
        }
        writing.finish(partial, made_by=made_by)
        partial.rename(out)
    return Store.open(out)


def preview(request: Request, *, recipe: Recipe | None = None) -> tuple[Findings, Declaration]:
    """Return the findings of `prepare` on the tables, with the score of a random forest, without decoding an image.

    Returns:
      The findings, and a declaration of the role and kind of every column, for a person to edit.

    Raises:
      UserError: something is wrong with the tables; the message names the file, row or column.
    """
    request, like = open_like(request)
    request = joined_with(request, recipe)
    quarantine = request.quarantine(recipe.required if recipe else ())
    gathered = gather(request, recipe, quarantine, like)
    rows = gathered.rows
    inspected = inspect(gathered, rows.left(quarantine), request, recipe, like=like)
    findings = report(rows, inspected, quarantine, recipe, seed=request.seed)
    findings.entries.extend(foreseen(gathered, inspected.rows))
    findings.warnings.extend(gathered.join.warnings)
    if request.group_near_duplicates:
        findings.warnings.append(
            "The splits are shown without --group-near-duplicates, since --check decodes no image."
        )
    return findings, template(rows)


def _alike(image: Pixels | None, kept: np.ndarray) -> np.ndarray:
    """Return the group `[K]` of every kept row: rows of nearly equal images share one, rows without image do not."""
    if image is None:
        raise UserError("--group-near-duplicates compares images, but the request has none; leave it out.")
    thumbs, at = np.load(image.thumbs, mmap_mode="r", allow_pickle=False), image.at(kept)
    present = at >= 0
    groups = near_groups(thumbs[at[present]])
    alike = groups.max(initial=-1) + 1 + np.arange(len(kept))
    alike[present] = groups
    return np.unique(alike, return_inverse=True)[1]


def _identity(request: Request, recipe: Recipe | None, gathered: GatheredEntries) -> str:
    """Return a hash of everything that determines the result except the image files, whose changes `decode` notices."""
    rows = gathered.rows
    contents: dict[str, Any] = {**request.to_json(), "version": __version__, "source": rows.source, "keys": rows.keys}
    if isinstance(request.images, ImageArrays):
        contents["images"] = request.images.fingerprint()
    in_memory = {} if recipe is None else recipe.tables
    if recipe is not None:
        contents["read"] = _named(recipe.read)
        contents["tables"] = [frame.hash_rows().to_list() for frame in in_memory.values()]
    for source in (*request.entries.values(), *request.targets.values()):
        for path in source.read_files():
            if path not in in_memory and path.exists():  # a missing file is named where it is read
                stat = path.stat()
                contents[str(path)] = [stat.st_size, stat.st_mtime_ns]
    digest = hashlib.sha256(repr(contents).encode())
    for column in rows.columns:
        digest.update(column.values.hash().to_numpy().tobytes())
    return digest.hexdigest()


def _named(read: Any) -> Any:
    """Return a reader as JSON values: its name, and the arguments that are bound to it."""
    if isinstance(read, functools.partial):
        return [_named(read.func), read.args, read.keywords]
    return None if read is None else f"{read.__module__}.{read.__qualname__}"


@contextlib.contextmanager
def claimed(partial: Path, identity: str) -> Iterator[None]:
    """Claim the unfinished folder for this process, and empty it if another request began it.

    The folder is removed if the input is wrong, and stays if the work is interrupted.
    """
    with locked(partial.with_name(f"{partial.name}.lock"), what=f"makes {partial}"), naming(partial):
        try:
            note = partial / "request.sha256"
            if not (note.is_file() and note.read_text() == identity):
                shutil.rmtree(partial, ignore_errors=True)
                (partial / "flat").mkdir(parents=True)
                note.write_text(identity)
            yield
        except UserError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
