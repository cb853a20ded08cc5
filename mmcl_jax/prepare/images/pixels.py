"""The images of rows: which are decoded, to what shape, and which cannot be used."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.schema import Entry, ImageSpec
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.decode import Decoded, DecodeJob, decode
from mmcl_jax.prepare.images.entries import ImageSource
from mmcl_jax.prepare.images.files import Shape, locate, read_shape
from mmcl_jax.prepare.images.volume import volume_shape
from mmcl_jax.prepare.leaks import same_pixels
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.progress import Bar

_LOOKED_AT = 64  # images whose headers say what size and channels the others have
_VOLUMES = 2  # volumes, which are read whole for that


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """The decoded images of rows `places` (of the rows read), in that order, and what the schema says of them.

    `array` is the file of the pixels, `thumbs` that of the thumbnails; `files` is how many were read. The rows `lost`
    lack the entry, because it is bad in them.
    """

    source: ImageSource
    places: np.ndarray
    decoded: Decoded
    entry: Entry
    files: int
    array: Path
    thumbs: Path
    lost: np.ndarray

    @property
    def spec(self) -> ImageSpec:
        """What the schema says of images."""
        height, width, channels = self.entry.shape
        return ImageSpec(
            height=height, width=width, channels=channels, fit=self.entry.fit, pictures=self.entry.pictures,
            dtype=self.entry.dtype,
        )  # fmt: skip

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return the index among the pixels of each of these rows, -1 for those that have no image."""
        there = np.minimum(np.searchsorted(self.places, rows), max(0, len(self.places) - 1))
        mine = self.places[there] == rows if len(self.places) else np.zeros(len(rows), bool)
        return np.where(mine & ~np.isin(rows, self.lost), there, -1)


def decode_rows(
    source: ImageSource,
    request: Request,
    rows: Rows,
    quarantine: Quarantine,
    partial: Path,
    *,
    of: Pixels | None = None,
    workers: int,
    progress: bool,
) -> Pixels:
    """Decode the images of the remaining rows; rows whose images are unusable go to the quarantine.

    Args:
      source: the entry.
      request: says what becomes of bad rows and duplicates.
      rows: all of them.
      quarantine: to add to.
      partial: the folder of the store; the images become `flat/NAME.npy` in it.
      of: the image that a mask belongs to.
      workers: processes.
      progress: whether to show it.

    Raises:
      UserError: there is no image folder, images differ in size and none was asked for, or too many are bad.
    """
    root = source.root
    if source.memory is None and (root is None or not root.is_dir()):
        named = source.where and f"{source.where}: "
        raise UserError(
            f"{named}The image folder {root} does not exist." if root else "Name the image folder with --images."
        )
    lacking = rows.lacking(quarantine, source.of) if of is not None else np.zeros(len(rows.keys), bool)
    left = [row for row in rows.left(quarantine) if source.names[row] and not lacking[row]]
    for row in left:
        if not all(source.names[row]):
            reason = f"The cell of one image of {source.name!r} of {rows.keys[row]!r} is empty."
            rows.leave_out(row, quarantine, "missing image", reason, entry=source.entry)
    places = np.array([row for row in left if all(source.names[row])], int)
    check(len(places) > 0, f"No row of {rows.source} is left to read {source.what} of.")
    names = [source.names[row] for row in places]
    job = _job(source, request, names, of)
    folder = partial / "flat" if source.name == "image" else partial / ".decoding" / source.name
    folder.mkdir(parents=True, exist_ok=True)
    array = partial / "flat" / f"{source.name}.npy"
    with Bar(source.plural, len(names), quiet=not progress) as bar:
        decoded = decode(job, names, folder, array=array, workers=workers, progress=bar.update)
    for place, (cause, reason) in sorted(decoded.bad.items()):
        if cause == "other size":
            sizes = ", ".join(" x ".join(map(str, size)) for size, _ in decoded.sizes.most_common(3))
            raise UserError(
                f"The images {'given' if root is None else f'in {root}'} have different sizes ({sizes} ...); say which "
                f"size to store, "
                f"for example {source.size_option}."
            )
        rows.leave_out(places[place], quarantine, cause, reason, image=names[place][0], entry=source.entry)
    if of is not None:
        _check_sizes(source, rows, places, decoded, of, quarantine)
    if source.duplicates == "quarantine":
        _quarantine_duplicates(source, rows, places, decoded, array, quarantine)
    rows.refuse(quarantine, request.max_bad)
    if source.entry:
        quarantine.refuse_entry(request.max_bad, len(left), source.entry)
    per_row = len(names[0])
    stored = job.stored(per_row)
    if job.kind == "mask":
        fit = "as its image, by the nearest pixel"
    else:
        fit = "as they are" if set(decoded.sizes) == {job.shape[:-1]} else source.fit.describe()
    entry = Entry(
        kind="volume" if len(job.shape) == 4 else "image",
        shape=stored[-len(job.shape) :],
        dtype=job.dtype,
        role="target" if job.kind == "mask" else "input",
        of=source.of,
        pictures=per_row if job.stack == "views" else 1,
        fit=fit,
    )
    return Pixels(
        source=source,
        places=places,
        decoded=decoded,
        entry=entry,
        files=len(names) * per_row,
        array=array,
        thumbs=folder / "thumb.npy",
        lost=np.flatnonzero(rows.lacking(quarantine, source.name)),
    )


def _job(source: ImageSource, request: Request, names: list[tuple[str, ...]], of: Pixels | None) -> DecodeJob:
    """Choose how images are decoded; what was not declared follows from the first of some spread over the rows."""
    links = None if request.follow_links is None else os.path.realpath(request.follow_links)
    check(links is None or os.path.isdir(links), f"--follow-links: the folder {links} does not exist.")
    root = "" if source.root is None else os.path.realpath(source.root)
    common: dict[str, Any] = {"root": root, "links": links, "fit": source.fit}
    if source.kind == "mask":
        assert of is not None
        return DecodeJob(**common, kind="mask", shape=(*of.entry.shape[:-1], 1), values=source.values)
    if source.kind == "volume":
        return _volumes(source, names, common)

    def shape_of(name: str) -> Shape:
        if source.memory is not None:
            return source.memory.shape(name)
        return read_shape(locate(root, name, links), read=source.read)

    shapes: list[Shape] = []
    for place in np.linspace(0, len(names) - 1, min(len(names), _LOOKED_AT)).astype(int):
        with contextlib.suppress(UserError):
            shapes.append(shape_of(names[place][0]))
    for row_names in names if not shapes else ():  # none of those can be read: the first one that can
        with contextlib.suppress(UserError):
            shapes.append(shape_of(row_names[0]))
            break
    if not shapes and not (source.size and source.channels):
        shape_of(names[0][0])  # says what is wrong with the first
    size = source.size or _default_size(source.default_size, shapes)
    height, width = size or shapes[0][:2]
    channels = source.channels or max(shape[2] for shape in shapes)
    return DecodeJob(
        **common,
        shape=(height, width, channels),
        dtype="uint16" if source.bits == 16 else "uint8",
        stack=source.stack,
        same_size=size is None,
        read=source.read,
        memory=source.memory,
    )


def _volumes(source: ImageSource, names: list[tuple[str, ...]], common: dict[str, Any]) -> DecodeJob:
    """Choose how volumes are decoded: float16 if files hold floats, else integers of as many bits as asked."""
    found: list[tuple[tuple[int, ...], str]] = []
    for row_names in names:
        with contextlib.suppress(UserError):
            found.append(volume_shape(locate(common["root"], row_names[0], common["links"], folders=True), source.fit))
        if len(found) == _VOLUMES:
            break
    if not found:  # says what is wrong with the first
        volume_shape(locate(common["root"], names[0][0], common["links"], folders=True), source.fit)
    floats = any(kind == "f" for _, kind in found) and source.fit.intensity == "minmax"
    return DecodeJob(
        **common,
        kind="volume",
        shape=(*(source.size or found[0][0][:3]), found[0][0][3]),
        dtype="uint8" if source.bits == 8 else "float16" if floats else "uint16",
        same_size=source.size is None,
    )


def _default_size(size: tuple[int, ...] | None, shapes: list[Shape]) -> tuple[int, ...] | None:
    """Return the size that a recipe stores; None, for the files' own, where all of them have one that is not larger."""
    own = {shape[:2] for shape in shapes}
    alike = size and len(own) == 1 and all(mine <= most for mine, most in zip(*own, size, strict=True))
    return None if alike else size


def _check_sizes(
    source: ImageSource, rows: Rows, places: np.ndarray, decoded: Decoded, of: Pixels, quarantine: Quarantine
) -> None:
    """Leave out the rows whose mask has another size than its image."""
    for row, mine, there in zip(places, decoded.shapes, of.at(places), strict=True):
        image = of.decoded.shapes[there]
        if mine is not None and image is not None and mine != image:
            sizes = [" x ".join(map(str, size)) for size in (mine, image)]
            reason = (
                f"The mask {source.name!r} of {rows.keys[row]!r}, {source.names[row][0]}, has the size {sizes[0]} "
                f"and its image {of.source.names[row][0]} has {sizes[1]}."
            )
            name = source.names[row][0]
            rows.leave_out(row, quarantine, "mask of other size", reason, image=name, entry=source.entry)


def _quarantine_duplicates(
    source: ImageSource, rows: Rows, places: np.ndarray, decoded: Decoded, array: Path, quarantine: Quarantine
) -> None:
    images = np.load(array, mmap_mode="r")
    images = images.reshape(len(places), -1, *images.shape[1:])  # several images of a row follow one another
    whole = [place for place in range(len(places)) if place not in decoded.bad]
    for place, first in same_pixels(decoded.sums, images, whole).items():
        row, other = places[place], places[first]
        rows.leave_out(
            row,
            quarantine,
            f"duplicate {source.kind}",
            f"Its {source.kind} {source.names[row][0]} is that of {rows.called(other)}, "
            f"{source.names[other][0]}; to keep such rows, say {source.keep_option}.",
            image=source.names[row][0],
            entry=source.entry,
        )
