"""Raw data to store: a table with a header and a folder of images become what training reads."""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.data import writing
from mmcl_jax.data.content import Content, Part
from mmcl_jax.data.declaration import Declaration
from mmcl_jax.data.mapped import MappedRows
from mmcl_jax.data.schema import Entry, ImageSpec
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import writing as naming_the_file
from mmcl_jax.lock import locked
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.report import add_images, card, report
from mmcl_jax.prepare.inspection import Inspected, given_ids, group_codes, inspect
from mmcl_jax.prepare.leaks import near_groups
from mmcl_jax.prepare.like import open_like
from mmcl_jax.prepare.pictures.pixels import Pixels, decode_rows
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import Rows, resolved, template, understand
from mmcl_jax.progress import Bar


def prepare(
    request: Request, out: Path, *, recipe: Recipe | None = None, workers: int = 1, progress: bool = False
) -> Store:
    """Writes the store `out`; it appears whole or not at all.

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
    quarantine = Quarantine()
    rows, ids = _table(request, recipe, quarantine)
    partial = out.with_name(f".{out.name}.partial")
    with _claimed(partial, _identity(request, recipe, rows)):
        pixels = decode_rows(request, recipe, rows, quarantine, partial / "flat", workers=workers, progress=progress)
        if like is not None:
            like.check_image(pixels.spec)
        kept = rows.left(quarantine)
        alike = None
        thumbs = np.load(partial / "flat" / "thumb.npy", mmap_mode="r")
        if request.group_near_duplicates:
            alike = near_groups(thumbs[np.searchsorted(pixels.places, kept)])
        found = inspect(rows, kept, pixels.spec, request, recipe, ids, alike=alike, like=like)
        content = _content(partial, rows, found, pixels)
        with Bar("shards", len(content.id), quiet=not progress) as bar:
            description = f"Images and table of {Path(rows.source).name}"
            writing.write(partial, content, description=description, workers=workers, progress=bar.advance)
        findings = report(rows, found, quarantine, recipe, seed=request.seed)
        if alike is not None:
            sizes = np.bincount(alike)
            findings.alike.update(
                groups=int((sizes > 1).sum()), rows=int(sizes[sizes > 1].sum()), largest=int(sizes.max())
            )
        given = ids is not None or bool(rows.named("split"))
        add_images(findings, rows, found, pixels, thumbs, given=given)
        (partial / "findings.json").write_text(findings.to_json())
        (partial / "card.html").write_text(card(findings, found.schema, _shown(content, found), quarantine))
        quarantine.write(partial / "quarantine.jsonl")
        for name in ("thumb.npy", "journal.jsonl"):
            (partial / "flat" / name).unlink()
        made_by = {
            "request": request.to_json(),
            "recipe": {"name": recipe.name, "options": list(recipe.options)} if recipe else None,
        }
        writing.finish(partial, made_by=made_by)
        (partial / "request.sha256").unlink()
        partial.rename(out)
    return Store.open(out)


def look(request: Request, *, recipe: Recipe | None = None) -> tuple[Findings, Declaration]:
    """What `prepare` would make of the table, and what a random forest gets from it; no image is decoded.

    Returns:
      What was found, and a declaration that says it, to be edited.

    Raises:
      UserError: anything wrong with the table.
    """
    request, like = open_like(request)
    quarantine = Quarantine()
    rows, ids = _table(request, recipe, quarantine)
    spec = ImageSpec(height=1, width=1, channels=1, fit="")
    found = inspect(rows, rows.left(quarantine), spec, request, recipe, ids, like=like)
    findings = report(rows, found, quarantine, recipe, seed=request.seed)
    if request.group_near_duplicates:
        findings.warnings.append(
            "Splits are shown as without --group-near-duplicates: no picture is decoded by --check."
        )
    return findings, template(rows)


def _table(
    request: Request, recipe: Recipe | None, quarantine: Quarantine
) -> tuple[Rows, Mapping[str, list[str]] | None]:
    """The rows of the table, and the identifiers of every split where they are given.

    Rows that cannot be used, or are in no list of identifiers, go to the quarantine.
    """
    rows = understand(request, recipe, quarantine)
    ids = given_ids(request, recipe)
    check(
        not request.group_near_duplicates or (ids is None and not rows.named("split")),
        f"--group-near-duplicates is for splits that are drawn, and those of {rows.source} are given; leave it out.",
    )
    if ids is not None:
        ids = {split: rows.keys_of(names) for split, names in ids.items()}
        listed = {key for keys in ids.values() for key in keys}
        for row, key in enumerate(rows.keys):
            if key not in listed:
                reason = f"Its identifier {key!r} is in no list of a split."
                rows.leave_out(row, quarantine, "in no split", reason, chosen=True)
    quarantine.refuse_above(request.max_bad, rows.total, rows.source)
    return rows, ids


def _content(partial: Path, rows: Rows, found: Inspected, pixels: Pixels) -> Content:
    """What the store holds; its rows are those of train, then val, then test."""
    order = np.concatenate(list(found.splits.values()))
    kept = found.rows[order]
    number = np.full(len(found.rows), -1)
    number[order] = np.arange(len(order))

    def numbered(members: np.ndarray) -> np.ndarray:
        return np.sort(number[members])

    schema = found.schema
    images = np.load(partial / "flat" / "image.npy", mmap_mode="r").reshape(-1, *pixels.spec.shape)
    place = np.searchsorted(pixels.places, kept)
    several = place[:, None] * pixels.spec.pictures + np.arange(pixels.spec.pictures)
    parts = {"image": Part(entry=Entry.image(pixels.spec), values=images, at=several)}
    for name, columns, values in (("table", schema.columns, found.table), ("labels", schema.labels, found.labels)):
        if columns:
            parts[name] = Part(entry=schema.entries[name], values=values[order])
    groups = rows.named("group")
    return Content(
        parts=parts,
        id=rows.numbers[kept] - 1,
        keys=[rows.keys[row] for row in kept],
        splits={split: numbered(members) for split, members in found.splits.items()},
        subsets={name: numbered(members) for name, members in found.subsets.items()},
        folds=[numbered(members) for members in found.folds],
        group=group_codes(groups[0].values.gather(kept).cast(pl.String)) if groups else None,
        declaration=resolved(rows),
    )


def _shown(content: Content, found: Inspected) -> dict[str, Any]:
    """The training rows that the card shows some of."""
    train, image = content.splits["train"], content.parts["image"]
    assert image.at is not None
    at = image.at[train]
    shown = {"id": content.id[train], "image": MappedRows(image.values, at if at.shape[1] > 1 else at[:, 0], fill=0)}
    if "labels" in content.parts and (codes := found.schema.codes(content.parts["labels"].values)) is not None:
        shown["label"] = codes[train]
    return shown


def _identity(request: Request, recipe: Recipe | None, rows: Rows) -> str:
    """A hash of all that decides the result, but for the image files, which `decode` watches."""
    said: dict[str, Any] = {**request.to_json(), "version": __version__, "source": rows.source}
    if recipe is not None:
        said["read"] = _named(recipe.read)
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for column in rows.columns:
        digest.update(column.values.hash().to_numpy().tobytes())
    return digest.hexdigest()


def _named(read: Any) -> Any:
    """A reader by its name and what is bound to it."""
    if isinstance(read, functools.partial):
        return [_named(read.func), read.args, read.keywords]
    return None if read is None else f"{read.__module__}.{read.__qualname__}"


@contextlib.contextmanager
def _claimed(partial: Path, identity: str) -> Iterator[None]:
    """The folder being made, claimed by this process; one that another request began is begun anew.

    It goes when the input turns out to be wrong, and stays when the work is interrupted.
    """
    with locked(partial.with_name(f"{partial.name}.lock"), what=f"makes {partial}"), naming_the_file(partial):
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
