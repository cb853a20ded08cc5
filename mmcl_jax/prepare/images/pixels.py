"""Decoding the images of a table's rows: which rows, to what shape and type, and which images cannot be used."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.engines.engine import Engine
from mmcl_jax.data.schema import Entry, ImageSpec
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.decode import Decoded, DecodeJob, decode
from mmcl_jax.prepare.images.entries import ImageSource
from mmcl_jax.prepare.images.files import Shape, locate, read_shape
from mmcl_jax.prepare.images.grid import Grid
from mmcl_jax.prepare.images.masks.drawn import drawn_name
from mmcl_jax.prepare.images.space import Space, common_space
from mmcl_jax.prepare.images.volume import is_nifti, most_voxels, volume_shape
from mmcl_jax.prepare.leaks import same_pixels
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.progress import Bar, Foresight

_SAMPLED_IMAGES = 64  # whose headers decide the size and channels that are stored
_SAMPLED_VOLUMES = 2  # likewise; fewer, since a volume is read whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """The decoded images of one entry.

    Attributes:
      source: the entry.
      rows: indices of the rows whose images were decoded, in the order of the pixels; an index occurs several times if
        the row has several of varying images.
      decoded: the report of decoding, by index in `rows`.
      entry: its declaration in the schema.
      files: how many files were read.
      array: the file of the pixels.
      thumbs: the file of the thumbnails.
      bad_rows: indices of the rows whose image is bad, and which therefore lack the entry.
    """

    source: ImageSource
    rows: np.ndarray
    decoded: Decoded
    entry: Entry
    files: int
    array: Path
    thumbs: Path
    bad_rows: np.ndarray

    @property
    def spec(self) -> ImageSpec:
        """The declaration of the image in the schema."""
        height, width, channels = self.entry.shape
        return ImageSpec(
            height=height, width=width, channels=channels, fit=self.entry.fit, pictures=self.entry.pictures,
            dtype=self.entry.dtype,
        )  # fmt: skip

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return for each of these rows the number of its images, if the number varies."""
        return np.searchsorted(self.rows, rows, side="right") - np.searchsorted(self.rows, rows)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return for each of these rows its (first) index among the pixels, or -1 if it has no image."""
        indices = np.minimum(np.searchsorted(self.rows, rows), max(0, len(self.rows) - 1))
        decoded = self.rows[indices] == rows if len(self.rows) else np.zeros(len(rows), bool)
        return np.where(decoded & ~np.isin(rows, self.bad_rows), indices, -1)


def decode_rows(
    source: ImageSource,
    request: Request,
    rows: Rows,
    quarantine: Quarantine,
    partial: Path,
    *,
    of: Pixels | None = None,
    engine: Engine,
    progress: bool,
) -> Pixels:
    """Decode the images of the rows that are not in quarantine; put rows with unusable images there.

    Args:
      source: the entry to decode.
      request: its options for links and for the share of bad rows.
      rows: all rows of the table.
      quarantine: the rows that are left out; gains those with unusable images.
      partial: the folder of the unfinished store; the pixels are written to `flat/NAME.npy` in it.
      of: the decoded images that a mask belongs to.
      engine: what decodes.
      progress: whether to show a progress bar.

    Raises:
      UserError: there is no image folder, images differ in size and no size was chosen, or too many rows are bad.
    """
    root = source.root
    if source.memory is None and not source.draw and (root is None or not root.is_dir()):
        where = source.where and f"{source.where}: "
        raise UserError(
            f"{where}The image folder {root} does not exist." if root else "Name the image folder with --images."
        )
    lacking = rows.lacking(quarantine, source.of) if of is not None else np.zeros(len(rows.keys), bool)
    left = [row for row in rows.left(quarantine) if source.names[row] and not lacking[row]]
    for row in () if source.empty else left:
        if not all(source.names[row]):
            reason = f"{source.name!r} of {rows.keys[row]!r} lacks an image: one of its cells is empty."
            rows.leave_out(row, quarantine, "missing image", reason, entry=source.entry)
    to_decode = np.array([row for row in left if source.empty or all(source.names[row])], int)
    check(len(to_decode) > 0, f"{rows.source} has no row left with {source.what} to read.")
    names = [source.names[row] for row in to_decode]
    if source.draw and of is not None:
        shapes = [of.decoded.shapes[index] or (0, 0) for index in of.at(to_decode)]
        texts = [name for (name,) in names]
        keys = [rows.keys[row] for row in to_decode]
        names = [(drawn_name(*parts),) for parts in zip(keys, shapes, texts, strict=True)]
    varying = source.stack == "varying" and source.kind != "mask"
    if varying:  # every image is decoded as a row of its own
        to_decode = np.repeat(to_decode, [len(row) for row in names])
        names = [(name,) for row in names for name in row]
    job = _job(source, request, names, of)
    folder = partial / "flat" if source.name == "image" else partial / ".decoding" / source.name
    folder.mkdir(parents=True, exist_ok=True)
    array = partial / "flat" / f"{source.name}.npy"
    foresight = Foresight(f"decoding {source.what} of every row", len(names))
    with Bar(source.plural, len(names), quiet=not progress) as bar:

        def update(done: int) -> None:
            bar.update(done)
            foresight.update(done)

        decoded = decode(job, names, folder, array=array, engine=engine, progress=update)
    for index, (cause, reason) in sorted(decoded.bad.items()):
        if cause == "other size":
            sizes = ", ".join(" x ".join(map(str, size)) for size, _ in decoded.sizes.most_common(3))
            raise UserError(
                f"The images {'in memory' if root is None else f'in {root}'} have different sizes ({sizes} ...); "
                f"choose the size to store, for example {source.size_option}."
            )
        image = None if source.draw else names[index][0]
        rows.leave_out(to_decode[index], quarantine, cause, reason, image=image, entry=source.entry)
    if of is not None and job.space.grid is None:
        _check_mask_sizes(source, rows, to_decode, decoded, of, quarantine)
    if source.duplicates == "quarantine":
        _quarantine_duplicates(source, rows, to_decode, decoded, array, quarantine)
    rows.refuse(quarantine, request.max_bad)
    if source.entry:
        quarantine.refuse_entry(request.max_bad, len(left), source.entry)
    per_row = len(names[0])
    stored = job.stored(per_row)
    if job.kind == "mask":
        drawn = "drawn from text, " if source.draw else ""
        fit = f"{drawn}as its image, by the nearest pixel"
    else:
        fit = "as they are" if set(decoded.sizes) == {job.shape[:-1]} else source.fit.describe()
    if job.space.resample:
        fit += "; volumes on other grids are resampled linearly"
    if job.space.brain_mask:
        fit += "; 0 outside the brain mask"
    entry = Entry(
        kind="volume" if len(job.shape) == 4 else "image",
        shape=stored[-len(job.shape) :],
        dtype=job.dtype,
        role="target" if job.kind == "mask" else "input",
        of=source.of,
        pictures=_most(source, to_decode) if varying else per_row if job.stack == "views" else 1,
        fit=fit,
        affine=job.space.grid.affine if job.space.grid else (),
    )
    return Pixels(
        source=source,
        rows=to_decode,
        decoded=decoded,
        entry=entry,
        files=sum(map(bool, itertools.chain.from_iterable(names))),
        array=array,
        thumbs=folder / "thumb.npy",
        bad_rows=np.flatnonzero(rows.lacking(quarantine, source.name)),
    )


def _most(source: ImageSource, rows: np.ndarray) -> int:
    """Return the largest number of images of a row, or that of the store that new rows are to be like."""
    most = int(np.unique(rows, return_counts=True)[1].max())
    return most if source.earlier is None else max(most, source.earlier.pictures)


def _job(source: ImageSource, request: Request, names: list[tuple[str, ...]], of: Pixels | None) -> DecodeJob:
    """Return how to decode the images; a sample, spread over the rows, decides what no option does."""
    links = None if request.follow_links is None else os.path.realpath(request.follow_links)
    check(links is None or os.path.isdir(links), f"--follow-links: the folder {links} does not exist.")
    root = "" if source.root is None else os.path.realpath(source.root)
    common: dict[str, Any] = {"root": root, "links": links, "fit": source.fit}
    if source.kind == "mask":
        assert of is not None
        grid = Grid(of.entry.shape[:3], of.entry.affine) if of.entry.affine else None
        space = Space(orientation=source.orientation, grid=grid, resample=source.grid != "same")
        shape = (*of.entry.shape[:-1], 1)
        return DecodeJob(**common, kind="mask", shape=shape, values=source.values, draw=source.draw, space=space)
    if source.kind == "volume":
        return _volumes(source, names, common)

    def shape_of(name: str) -> Shape:
        if source.memory is not None:
            return source.memory.shape(name)
        return read_shape(locate(root, name, links), read=source.read)

    shapes: list[Shape] = []
    for index in np.linspace(0, len(names) - 1, min(len(names), _SAMPLED_IMAGES)).astype(int):
        with contextlib.suppress(UserError):
            shapes.append(shape_of(names[index][0]))
    for row_names in names if not shapes else ():  # no image of the sample can be read: take the first readable one
        with contextlib.suppress(UserError):
            shapes.append(shape_of(row_names[0]))
            break
    if not shapes and not (source.size and source.channels):
        shape_of(names[0][0])  # raises the error of the first image
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
    """Return how to decode volumes: to float16 if files hold floats, else to integers of the declared bits."""

    def located(name: str) -> str:
        return locate(common["root"], name, common["links"], folders=True)

    def niftis() -> Iterator[Path]:
        for row_names in names:
            with contextlib.suppress(UserError):
                if is_nifti(row_names[0]):
                    yield Path(located(row_names[0]))

    sample: list[tuple[tuple[int, ...], str]] = []
    for row_names in names:
        with contextlib.suppress(UserError):
            sample.append(volume_shape(located(row_names[0]), source.fit, source.orientation, source.falff))
        if len(sample) == _SAMPLED_VOLUMES:
            break
    if not sample:  # raises the error of the first volume
        volume_shape(located(names[0][0]), source.fit, source.orientation, source.falff)
    floats = any(kind == "f" for _, kind in sample) and source.fit.intensity == "minmax"
    by_bits = "uint8" if source.bits == 8 else "float16" if floats else "uint16"
    earlier = source.earlier
    space = common_space(
        niftis(),
        where=source.where,
        limit=most_voxels(source.fit),
        size=source.size,
        orientation=source.orientation,
        grid=source.grid,
        brain_mask=source.brain_mask,
        earlier=Grid(earlier.shape[:3], earlier.affine) if earlier is not None and earlier.affine else None,
    )
    return DecodeJob(
        **common,
        kind="volume",
        shape=(*(space.grid.shape if space.grid else source.size or sample[0][0][:3]), sample[0][0][3]),
        dtype=source.dtype or by_bits,
        same_size=source.size is None and space.grid is None,
        falff=source.falff,
        space=space,
    )


def _default_size(size: tuple[int, ...] | None, shapes: list[Shape]) -> tuple[int, ...] | None:
    """Return the size that a recipe stores, or None if all files have one size that is not larger, which is kept."""
    own = {shape[:2] for shape in shapes}
    alike = size and len(own) == 1 and all(length <= largest for length, largest in zip(*own, size, strict=True))
    return None if alike else size


def _check_mask_sizes(
    source: ImageSource, rows: Rows, indices: np.ndarray, decoded: Decoded, of: Pixels, quarantine: Quarantine
) -> None:
    """Leave out the rows whose mask has another size than its image."""
    for row, mask, index in zip(indices, decoded.shapes, of.at(indices), strict=True):
        image = of.decoded.shapes[index]
        if mask is not None and image is not None and mask != image:
            sizes = [" x ".join(map(str, size)) for size in (mask, image)]
            reason = (
                f"The mask {source.name!r} of {rows.keys[row]!r}, {source.names[row][0]}, has the size {sizes[0]} "
                f"and its image {of.source.names[row][0]} has {sizes[1]}."
            )
            name = source.names[row][0]
            rows.leave_out(row, quarantine, "mask of other size", reason, image=name, entry=source.entry)


def _quarantine_duplicates(
    source: ImageSource, rows: Rows, indices: np.ndarray, decoded: Decoded, array: Path, quarantine: Quarantine
) -> None:
    """Leave out the rows whose images equal those of an earlier row, pixel by pixel."""
    images = np.load(array, mmap_mode="r", allow_pickle=False)
    images = images.reshape(len(indices), -1, *images.shape[1:])  # several images of a row follow one another
    usable = [index for index in range(len(indices)) if index not in decoded.bad]
    for index, first in same_pixels(decoded.sums, images, usable).items():
        row, other = indices[index], indices[first]
        if row == other:
            continue
        rows.leave_out(
            row,
            quarantine,
            f"duplicate {source.kind}",
            f"Its {source.kind} {source.names[row][0]} has the same pixels as {source.names[other][0]} of "
            f"{rows.called(other)}; to keep such rows, use {source.keep_option}.",
            image=source.names[row][0],
            entry=source.entry,
        )
