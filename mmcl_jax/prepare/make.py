"""Raw data to store: tables with headers, folders of images and other files become what training reads."""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax import __version__
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
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import template
from mmcl_jax.progress import Bar


def prepare(
    request: Request, out: Path, *, recipe: Recipe | None = None, workers: int = 1, progress: bool = False
) -> Store:
    """Write the store `out`; it appears whole or not at all.

    Stopped at any moment and called again with the same request, it continues with the images that are not decoded yet.

    Args:
      request: what to prepare.
      out: the folder to make; it must not exist.
      recipe: a named data set, which gives the table and where the images are.
      workers: processes. With more than one, call it under `if __name__ == "__main__":`.
      progress: whether to show it.

    Returns:
      The opened store.

    Raises:
      UserError: anything wrong with the input, naming the file, row or column; nothing is left behind.
    """
    check(not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
    request, like = open_like(request)
    quarantine = request.quarantine()
    gathered = gather(request, recipe, quarantine, like)
    rows = gathered.rows
    partial = out.with_name(f".{out.name}.partial")
    with _claimed(partial, _identity(request, recipe, gathered)):
        pixels: dict[str, Pixels] = {}
        for source in image_sources(request, recipe, gathered.join):
            of = pixels.get(source.of)
            pixels[source.name] = decode_rows(
                source, request, rows, quarantine, partial, of=of, workers=workers, progress=progress
            )
        image = next((one for one in pixels.values() if one.source.kind == "image"), None)
        if like is not None:
            for name, one in pixels.items():
                like.check_pictures(name, one.entry)
        boxes = {
            name: read_boxes(
                one, pixels[one.source.of], rows, quarantine, most=like.schema.entries[name].shape[0] if like else 0
            )
            for name, one in gathered.join.entries.items()
            if one.source.kind == "boxes"
        }
        for name in boxes:
            there = int((gathered.join.entries[name].at >= 0).sum())
            quarantine.refuse_entry(request.max_bad, there, name)
        rows.refuse(quarantine, request.max_bad)
        if gathered.join.entries:
            gathered = gathered.usable(quarantine)
            rows = gathered.rows
        kept = check_left(rows, quarantine)
        alike = None
        thumbs = None if image is None else np.load(image.thumbs, mmap_mode="r")
        if request.group_near_duplicates:
            alike = _alike(image, kept)
        found = inspect(
            rows, kept, request, recipe, gathered.ids, alike=alike, like=like, targets=gathered.targets,
            table=bool(gathered.main.table),
        )  # fmt: skip
        assembled = Assembler(gathered, found, pixels, boxes, partial, like).content()
        with Bar("shards", len(kept), quiet=not progress) as bar:
            title = f"{', '.join(assembled.content.parts)} of {Path(rows.source).name}"
            schema = writing.write(partial, assembled.content, description=title, workers=workers, progress=bar.advance)
        findings = report(rows, found, quarantine, recipe, seed=request.seed)
        add_entries(findings, gathered, assembled, quarantine)
        if alike is not None:
            sizes = np.bincount(alike)
            findings.alike.update(
                groups=int((sizes > 1).sum()), rows=int(sizes[sizes > 1].sum()), largest=int(sizes.max())
            )
        if image is not None and thumbs is not None:
            given = gathered.ids is not None or bool(rows.named("split"))
            add_images(findings, rows, found, image, thumbs, splits_given=given)
        (partial / "findings.json").write_text(findings.to_json())
        (partial / "card.html").write_text(card(findings, schema, assembled, quarantine))
        quarantine.write(partial / "quarantine.jsonl")
        for decoded in pixels.values():
            for path in (decoded.thumbs, decoded.thumbs.with_name("journal.jsonl")):
                path.unlink()
        shutil.rmtree(partial / ".decoding", ignore_errors=True)
        (partial / "request.sha256").unlink()
        made_by = {
            "request": request.to_json(),
            "recipe": {"name": recipe.name, "options": list(recipe.options)} if recipe else None,
        }
        writing.finish(partial, made_by=made_by)
        partial.rename(out)
    return Store.open(out)


def look(request: Request, *, recipe: Recipe | None = None) -> tuple[Findings, Declaration]:
    """Return what `prepare` would find in the tables, and how well a random forest does; decode no image.

    Returns:
      What was found, and a declaration that says it, to be edited.

    Raises:
      UserError: anything wrong with the tables.
    """
    request, like = open_like(request)
    quarantine = request.quarantine()
    gathered = gather(request, recipe, quarantine, like)
    rows = gathered.rows
    found = inspect(
        rows, rows.left(quarantine), request, recipe, gathered.ids, like=like, targets=gathered.targets,
        table=bool(gathered.main.table),
    )  # fmt: skip
    findings = report(rows, found, quarantine, recipe, seed=request.seed)
    findings.entries.extend(foreseen(gathered, found.rows))
    findings.warnings.extend(gathered.join.warnings)
    if request.group_near_duplicates:
        findings.warnings.append(
            "Splits are shown as without --group-near-duplicates: no picture is decoded by --check."
        )
    return findings, template(rows)


def _alike(image: Pixels | None, kept: np.ndarray) -> np.ndarray:
    """Return numbers of the sets of kept rows with nearly equal images; a row without an image is a set of its own."""
    if image is None:
        raise UserError("--group-near-duplicates compares images, and there are none; leave it out.")
    thumbs, at = np.load(image.thumbs, mmap_mode="r"), image.at(kept)
    there = at >= 0
    groups = near_groups(thumbs[at[there]])
    alike = groups.max(initial=-1) + 1 + np.arange(len(kept))
    alike[there] = groups
    return np.unique(alike, return_inverse=True)[1]


def _identity(request: Request, recipe: Recipe | None, gathered: GatheredEntries) -> str:
    """Return a hash of everything that decides the result, except the image files, which `decode` watches."""
    rows = gathered.rows
    said: dict[str, Any] = {**request.to_json(), "version": __version__, "source": rows.source, "keys": rows.keys}
    if isinstance(request.images, ImageArrays):
        said["images"] = request.images.fingerprint()
    if recipe is not None:
        said["read"] = _named(recipe.read)
    for source in (*request.entries.values(), *request.targets.values()):
        for path in (source.file, source.names, source.keys, source.vocabulary):
            if path is not None:
                stat = path.stat()
                said[str(path)] = [stat.st_size, stat.st_mtime_ns]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for column in rows.columns:
        digest.update(column.values.hash().to_numpy().tobytes())
    return digest.hexdigest()


def _named(read: Any) -> Any:
    """Return a reader as its name and the values bound to it."""
    if isinstance(read, functools.partial):
        return [_named(read.func), read.args, read.keywords]
    return None if read is None else f"{read.__module__}.{read.__qualname__}"


@contextlib.contextmanager
def _claimed(partial: Path, identity: str) -> Iterator[None]:
    """Claim the folder being made for this process; a folder that another request began is begun anew.

    It goes when the input turns out to be wrong, and stays when the work is interrupted.
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
