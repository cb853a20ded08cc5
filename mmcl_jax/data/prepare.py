"""Raw data to store: a table with a header and a folder of images become what training reads."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.data import audit, flat, shards
from mmcl_jax.data.card import render_card
from mmcl_jax.data.declaration import Declaration
from mmcl_jax.data.decode import Decoded, Job, decode
from mmcl_jax.data.findings import Findings
from mmcl_jax.data.images import locate, read_shape
from mmcl_jax.data.inspection import Inspected, given_ids, inspect
from mmcl_jax.data.leaks import near_twins, same_pixels
from mmcl_jax.data.quarantine import Quarantine
from mmcl_jax.data.recipes.base import Recipe
from mmcl_jax.data.request import Request
from mmcl_jax.data.rows import Rows, resolved, template, understand
from mmcl_jax.data.schema import ImageSpec
from mmcl_jax.data.store import FORMAT, Store, write_checksums
from mmcl_jax.errors import UserError, check
from mmcl_jax.progress import Bar

_LOOKED_AT = 64  # images whose headers say what size and channels the others have
_CONTACT_SHEET = 24


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
    quarantine = Quarantine()
    rows = _table(request, recipe, quarantine)
    partial = out.with_name(f".{out.name}.partial")
    with _claimed(partial, _identity(request, rows)):
        decoded, job, places = _images(request, recipe, rows, quarantine, partial, workers, progress)
        kept = np.array([row for row in places if rows.numbers[row] not in quarantine])
        pictures = len(rows.images[0])
        height, width, channels = job.stored(pictures)[-3:]
        spec = ImageSpec(
            height=height,
            width=width,
            channels=channels,
            fit="as they are" if set(decoded.sizes) == {(height, width)} else request.fit.describe(),
            pictures=pictures if job.stack == "views" else 1,
        )
        found = inspect(rows, kept, spec, request, recipe)
        _write(partial, rows, found, places, workers, progress)
        findings = _findings(rows, found, quarantine, recipe, decoded)
        _add_images(findings, partial, rows, found, places, decoded)
        findings.forest.update(found.forests(request.seed))
        for name in ("thumb.npy", "journal.jsonl"):
            (partial / "flat" / name).unlink()
        quarantine.write(partial / "quarantine.jsonl")
        (partial / "findings.json").write_text(findings.to_json())
        (partial / "card.html").write_text(_card(findings, partial, found, quarantine))
        write_checksums(partial)
        made_by = {
            "format": FORMAT,
            "version": __version__,
            "request": request.to_json(),
            "recipe": recipe.name if recipe else None,
            "sizes": {split: len(members) for split, members in found.splits.items()},
        }
        (partial / "store.json").write_text(json.dumps(made_by, indent=2) + "\n")
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
    quarantine = Quarantine()
    rows = _table(request, recipe, quarantine)
    kept = np.array([row for row, number in enumerate(rows.numbers) if number not in quarantine])
    found = inspect(rows, kept, ImageSpec(height=1, width=1, channels=1, fit=""), request, recipe)
    findings = _findings(rows, found, quarantine, recipe, None)
    findings.forest.update(found.forests(request.seed))
    return findings, template(rows)


def _table(request: Request, recipe: Recipe | None, quarantine: Quarantine) -> Rows:
    """The rows of the table; those that cannot be used, or are in no list of identifiers, go to the quarantine."""
    rows = understand(request, recipe, quarantine)
    ids = given_ids(request, recipe)
    if ids is not None:
        listed = {key for keys in ids.values() for key in keys}
        for row, key in enumerate(rows.keys):
            if key not in listed:
                reason = f"Its identifier {key!r} is in no list of a split."
                quarantine.add(int(rows.numbers[row]), rows.images[row][0], "in no split", reason, chosen=True)
    quarantine.refuse_above(request.max_bad, rows.total, rows.source)
    return rows


def _images(
    request: Request,
    recipe: Recipe | None,
    rows: Rows,
    quarantine: Quarantine,
    partial: Path,
    workers: int,
    progress: bool,
) -> tuple[Decoded, Job, np.ndarray]:
    """Decodes the images of the rows that are left; returns what that found, how it was done, and the rows."""
    root = recipe.images if recipe else request.images
    if root is None or not root.is_dir():
        raise UserError(f"The image folder {root} does not exist." if root else "Name the image folder with --images.")
    places = np.array([row for row, number in enumerate(rows.numbers) if number not in quarantine], int)
    check(len(places) > 0, f"No row of {rows.source} is left to read an image of.")
    names = [rows.images[row] for row in places]
    job = _job(request, recipe, os.path.realpath(root), names)
    with Bar("images", len(names), quiet=not progress) as bar:
        decoded = decode(job, names, partial / "flat", workers=workers, progress=bar.update)
    for place, (cause, reason) in sorted(decoded.bad.items()):
        if cause == "other size":
            sizes = ", ".join(f"{h} x {w}" for (h, w), _ in decoded.sizes.most_common(3))
            raise UserError(
                f"The images in {root} have different sizes ({sizes} ...); say which size to store, "
                f"for example --image-size 128."
            )
        row = places[place]
        quarantine.add(int(rows.numbers[row]), rows.images[row][0], cause, reason)
    if request.duplicates == "quarantine":
        images = np.load(partial / "flat" / "image.npy", mmap_mode="r")
        whole = [place for place in range(len(places)) if place not in decoded.bad]
        for place, first in same_pixels(decoded.sums, images, whole).items():
            row, other = places[place], places[first]
            quarantine.add(
                int(rows.numbers[row]),
                rows.images[row][0],
                "duplicate image",
                f"Its image {rows.images[row][0]} is that of row {rows.numbers[other]}, {rows.images[other][0]}; "
                f"to keep such rows, say --duplicates keep.",
            )
    quarantine.refuse_above(request.max_bad, rows.total, rows.source)
    return decoded, job, places


def _job(request: Request, recipe: Recipe | None, root: str, names: list[tuple[str, ...]]) -> Job:
    """How images are decoded; what was not said follows from the first of `_LOOKED_AT` images spread over the table."""
    read = recipe.read if recipe else None
    shapes = []
    for place in np.linspace(0, len(names) - 1, min(len(names), _LOOKED_AT)).astype(int):
        with contextlib.suppress(UserError):
            shapes.append(read_shape(locate(root, names[place][0]), read=read))
    for row_names in names if not shapes else ():  # none of those can be read: the first one that can
        with contextlib.suppress(UserError):
            shapes.append(read_shape(locate(root, row_names[0]), read=read))
            break
    if not shapes and not (request.image_size and request.channels):
        locate(root, names[0][0])
        read_shape(locate(root, names[0][0]), read=read)  # says what is wrong with the first
    height, width = request.image_size or shapes[0][:2]
    channels = request.channels or max(shape[2] for shape in shapes)
    return Job(
        root=root,
        shape=(height, width, channels),
        stack=request.stack,
        same_size=request.image_size is None,
        fit=request.fit,
        read=read,
    )


def _write(partial: Path, rows: Rows, found: Inspected, places: np.ndarray, workers: int, progress: bool) -> None:
    """Writes the arrays, the shards and what describes them."""
    where = np.searchsorted(places, found.rows)
    for split, members in found.splits.items():
        flat.write_split(
            partial,
            split,
            place=where[members],
            id=rows.numbers[found.rows[members]] - 1,
            table=found.table[members],
            labels=found.labels[members],
        )
    keys = {split: [rows.keys[row] for row in found.rows[members]] for split, members in found.splits.items()}
    sizes = {split: len(members) for split, members in found.splits.items()}
    for file in partial.glob("*.array_record-*"):  # of an earlier call that was stopped
        file.unlink()
    with Bar("shards", sum(sizes.values()), quiet=not progress) as bar:
        writer = shards.Writer(partial, found.schema, keys)
        infos = shards.write_shards(writer, sizes, workers=workers, progress=bar.advance)
    shards.write_metadata(partial, found.schema, infos, f"Images and table of {Path(rows.source).name}")
    chosen = {name: [rows.keys[row] for row in found.rows[members]] for name, members in found.subsets.items()}
    (partial / "schema.json").write_text(found.schema.to_json())
    (partial / "statistics.json").write_text(found.statistics.to_json())
    for name, value in {"declaration": resolved(rows).to_json(), "splits": keys, "subsets": chosen}.items():
        (partial / f"{name}.json").write_text(json.dumps(value) + "\n")


def _findings(
    rows: Rows, found: Inspected, quarantine: Quarantine, recipe: Recipe | None, decoded: Decoded | None
) -> Findings:
    return Findings(
        source=Path(rows.source).name,
        rows=rows.total,
        kept=len(found.rows),
        lost=quarantine.causes(),
        steps=[step._asdict() for step in recipe.steps] if recipe else [],
        columns=found.columns(rows),
        splits={split: len(members) for split, members in found.splits.items()},
        subsets={name: len(members) for name, members in found.subsets.items()},
        labels=audit.balance(found.labels, found.schema.labels, found.splits),
        warnings=list(found.warnings),
    )


def _add_images(
    findings: Findings, partial: Path, rows: Rows, found: Inspected, places: np.ndarray, decoded: Decoded
) -> None:
    """Adds what the images say: facts, and nearly equal ones in different splits."""
    image = found.schema.image
    findings.images.update(
        files=len(places) * len(rows.images[0]),
        stored=" x ".join(map(str, image.stored)),
        fit=image.fit,
        sizes=[[f"{height} x {width}", count] for (height, width), count in decoded.sizes.most_common(8)],
    )
    thumbs = np.load(partial / "flat" / "thumb.npy", mmap_mode="r")[np.searchsorted(places, found.rows)]
    split_of = {int(row): split for split, members in found.splits.items() for row in members}
    for one, other, difference in near_twins(thumbs, found.splits):
        first, second = (rows.keys[found.rows[row]] for row in (one, other))
        findings.twins.append(
            {
                "first": first,
                "second": second,
                "splits": [split_of[one], split_of[other]],
                "difference": round(difference, 2),
            }
        )
    if findings.twins:
        findings.warnings.insert(
            0, f"{len(findings.twins)} pairs of nearly equal images are in different splits: results will flatter."
        )


def _card(findings: Findings, partial: Path, found: Inspected, quarantine: Quarantine) -> str:
    """The data card, with a contact sheet of training images spread over the split."""
    arrays = flat.read(partial, "train", found.schema, images=True)
    count = len(arrays["id"])
    label = found.schema.label
    pictures = []
    for place in np.linspace(0, count - 1, min(count, _CONTACT_SHEET)).astype(int):
        image = arrays["image"][place]
        code = int(arrays["label"][place]) if label else -1
        caption = label.categories[code] if label and code >= 0 else f"row {arrays['id'][place] + 1}"
        pictures.append((caption, image[0] if image.ndim == 4 else image))
    entries = [entry._asdict() for entry in quarantine.entries]
    return render_card(findings, title=Path(findings.source).stem, pictures=pictures, quarantine=entries)


def _identity(request: Request, rows: Rows) -> str:
    """A hash of all that decides the result, but for the image files, which `decode` watches."""
    said: dict[str, Any] = {**request.to_json(), "version": __version__, "source": rows.source}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for column in rows.columns:
        digest.update(column.values.hash().to_numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _claimed(partial: Path, identity: str) -> Iterator[None]:
    """The folder being made, claimed by this process; one that another request began is begun anew.

    It goes when the input turns out to be wrong, and stays when the work is interrupted.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.with_name(f"{partial.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"Another mmcl prepare is making {partial}; wait for it.") from error
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
        finally:
            Path(lock.name).unlink()
