"""The images of a table's rows: which are decoded, to what shape, and which cannot be used."""

import contextlib
import dataclasses
import os
from pathlib import Path

import numpy as np

from mmcl_jax.data.schema import ImageSpec
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.leaks import same_pixels
from mmcl_jax.prepare.pictures.decode import Decoded, Job, decode
from mmcl_jax.prepare.pictures.images import Shape, locate, read_shape
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.progress import Bar

_LOOKED_AT = 64  # images whose headers say what size and channels the others have


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """The decoded images of rows `places` (of the rows read), in that order; `spec` is what the schema says of them."""

    places: np.ndarray
    decoded: Decoded
    spec: ImageSpec
    files: int


def decode_rows(
    request: Request,
    recipe: Recipe | None,
    rows: Rows,
    quarantine: Quarantine,
    folder: Path,
    *,
    workers: int,
    progress: bool,
) -> Pixels:
    """Decodes the images of the rows that are left into `folder`; those that cannot be used go to the quarantine.

    Raises:
      UserError: there is no image folder, images differ in size and none was asked for, or too many are bad.
    """
    root = recipe.images if recipe else request.images
    if root is None or not root.is_dir():
        raise UserError(f"The image folder {root} does not exist." if root else "Name the image folder with --images.")
    places = rows.left(quarantine)
    check(len(places) > 0, f"No row of {rows.source} is left to read an image of.")
    names = [rows.images[row] for row in places]
    job = _job(request, recipe, os.path.realpath(root), names)
    with Bar("images", len(names), quiet=not progress) as bar:
        decoded = decode(job, names, folder, workers=workers, progress=bar.update)
    for place, (cause, reason) in sorted(decoded.bad.items()):
        if cause == "other size":
            sizes = ", ".join(f"{h} x {w}" for (h, w), _ in decoded.sizes.most_common(3))
            raise UserError(
                f"The images in {root} have different sizes ({sizes} ...); say which size to store, "
                f"for example --image-size 128."
            )
        rows.leave_out(places[place], quarantine, cause, reason)
    if request.duplicates == "quarantine":
        _quarantine_duplicates(rows, places, decoded, folder, quarantine)
    quarantine.refuse_above(request.max_bad, rows.total, rows.source)
    pictures = len(rows.images[0])
    height, width, channels = job.stored(pictures)[-3:]
    spec = ImageSpec(
        height=height,
        width=width,
        channels=channels,
        fit="as they are" if set(decoded.sizes) == {(height, width)} else request.fit.describe(),
        pictures=pictures if job.stack == "views" else 1,
    )
    return Pixels(places=places, decoded=decoded, spec=spec, files=len(names) * pictures)


def _job(request: Request, recipe: Recipe | None, root: str, names: list[tuple[str, ...]]) -> Job:
    """How images are decoded; what was not said follows from the first of `_LOOKED_AT` images spread over the table."""
    read = recipe.read if recipe else None
    links = None if request.follow_links is None else os.path.realpath(request.follow_links)
    check(links is None or os.path.isdir(links), f"--follow-links: the folder {links} does not exist.")
    shapes = []
    for place in np.linspace(0, len(names) - 1, min(len(names), _LOOKED_AT)).astype(int):
        with contextlib.suppress(UserError):
            shapes.append(read_shape(locate(root, names[place][0], links), read=read))
    for row_names in names if not shapes else ():  # none of those can be read: the first one that can
        with contextlib.suppress(UserError):
            shapes.append(read_shape(locate(root, row_names[0], links), read=read))
            break
    if not shapes and not (request.image_size and request.channels):
        read_shape(locate(root, names[0][0], links), read=read)  # says what is wrong with the first
    size = request.image_size or (_default_size(recipe.image_size, shapes) if recipe else None)
    height, width = size or shapes[0][:2]
    channels = request.channels or max(shape[2] for shape in shapes)
    return Job(
        root=root,
        shape=(height, width, channels),
        stack=request.stack,
        same_size=size is None,
        fit=request.fit,
        read=read,
        links=links,
    )


def _default_size(size: tuple[int, int] | None, shapes: list[Shape]) -> tuple[int, int] | None:
    """Return the size that a recipe stores; None, for the files' own, where all of them have one that is not larger."""
    own = {shape[:2] for shape in shapes}
    alike = size and len(own) == 1 and all(mine <= most for mine, most in zip(*own, size, strict=True))
    return None if alike else size


def _quarantine_duplicates(
    rows: Rows, places: np.ndarray, decoded: Decoded, folder: Path, quarantine: Quarantine
) -> None:
    images = np.load(folder / "image.npy", mmap_mode="r")
    whole = [place for place in range(len(places)) if place not in decoded.bad]
    for place, first in same_pixels(decoded.sums, images, whole).items():
        row, other = places[place], places[first]
        rows.leave_out(
            row,
            quarantine,
            "duplicate image",
            f"Its image {rows.images[row][0]} is that of row {rows.numbers[other]}, {rows.images[other][0]}; "
            f"to keep such rows, say --duplicates keep.",
        )
