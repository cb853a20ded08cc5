"""Decoding every image of a table once, in several processes, into one memory-mapped array.

Rows are decoded in chunks. A chunk's line is written to the journal after its pixels, so a decoding that was stopped
can be resumed: chunks whose line, pixels and files are unchanged are not decoded again.

Worker processes are spawned and import this module, so it imports few others.
"""

import contextlib
import dataclasses
import functools
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.border import AtLeast, parse, to_json, typed
from mmcl_jax.data.engines.engine import Engine, Processes
from mmcl_jax.errors import UserError
from mmcl_jax.files import reserve
from mmcl_jax.prepare.images.falff import Falff
from mmcl_jax.prepare.images.files import Fit, Reader, Stack, locate, read_image
from mmcl_jax.prepare.images.levels import to_uint8
from mmcl_jax.prepare.images.masks.drawn import Drawing, draw_mask
from mmcl_jax.prepare.images.masks.read import read_mask
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.images.space import Space
from mmcl_jax.prepare.images.unusable import Unusable, require
from mmcl_jax.prepare.images.volume import read_volume

CHUNK = 64
THUMB = 16
Names = tuple[str, ...]
Count = Annotated[int, AtLeast(0)]


class Line(TypedDict):
    """A line of the journal: the report on a chunk.

    `bad` has row within the chunk, cause and sentence; `sizes` has sizes with their number; `thumbs` and `files` are
    checksums, and so are `sums`, of which a row has one each.
    """

    start: Count
    bad: list[tuple[Count, str, str]]
    sizes: list[tuple[Count, ...]]
    sums: list[Count]
    shapes: list[tuple[Count, ...] | None]
    thumbs: Count
    files: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeJob:
    """What to decode, and how.

    Attributes:
      root: the real path of the image folder.
      links: the real path of another folder that links may lead into.
      kind: "image", "volume" or "mask".
      shape: (height, width, channels) of one image, (depth, height, width, channels) of a volume.
      dtype: the stored type: "uint8", "uint16" or, for volumes only, "float16".
      values: the pixel values of the classes of a mask, in order; () for any values.
      stack: whether several images of a row become "channels" of one image, or "views" along a leading axis. Of
        "varying" views, whose number differs by row, each is decoded as a row of its own.
      same_size: whether every file must already have the size of `shape`.
      fit: how images are fitted to `shape`.
      read: the function that reads a file, in place of the readers of this package.
      memory: images in memory in place of files, named by their indices; they are decoded in this process.
      draw: how masks are drawn from their names (see `draw_mask`); "" if the names are those of files.
      falff: whether a volume is fALFF of the series in its file, and how.
      space: of volumes and their masks: the orientation, the grid and the brain mask.
    """

    root: str
    shape: tuple[int, ...]
    kind: Literal["image", "volume", "mask"] = "image"
    dtype: str = "uint8"
    values: tuple[int, ...] = ()
    stack: Stack = "channels"
    same_size: bool = False
    fit: Fit = dataclasses.field(default_factory=Fit)
    read: Reader | None = None
    links: str | None = None
    memory: ImageArrays | None = None
    draw: Drawing | Literal[""] = ""
    falff: Falff | None = None
    space: Space = dataclasses.field(default_factory=Space)

    def stored(self, images: int) -> tuple[int, ...]:
        """Return the stored shape of a row with this number of images."""
        if images > 1 and self.stack != "channels":
            return images, *self.shape
        return *self.shape[:-1], self.shape[-1] * images

    def image(self, name: str) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the image that a file holds, fitted to `shape`, and its size in the file.

        Raises:
          Unusable: the image cannot be used.
        """
        if self.memory is not None:
            height, width, channels = self.shape
            return self.memory.read(name, (height, width, channels), self.fit, self.dtype)
        if self.draw:
            return draw_mask(name, self.draw, self.shape, self.fit)
        path = locate(self.root, name, self.links, folders=self.kind == "volume")
        if self.kind == "image":
            height, width, channels = self.shape
            return read_image(path, (height, width, channels), self.fit, read=self.read, dtype=self.dtype)
        if self.kind == "mask":
            return read_mask(path, self.shape, self.fit, self.values, self.space)
        return read_volume(path, self.shape, self.fit, self.dtype, self.space, self.falff)


@dataclasses.dataclass
class Decoded:
    """The report of decoding.

    Attributes:
      bad: the (cause, sentence) of each row with an unusable image, by row.
      sizes: how many files have each size.
      sums: `[rows]`, a checksum of each row's pixels.
      shapes: the size in its file of each row's first image; None where it was not read.
    """

    bad: dict[int, tuple[str, str]]
    sizes: Counter[tuple[int, ...]]
    sums: np.ndarray
    shapes: list[tuple[int, ...] | None]


def decode(
    job: DecodeJob,
    names: Sequence[Names],
    folder: Path,
    *,
    array: Path | None = None,
    engine: Engine | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Decoded:
    """Decode the images of every row into `folder/image.npy` `[rows, ...]` and `folder/thumb.npy`.

    Views of one row are consecutive in the file, `[rows * views, ...]`.

    Args:
      job: how to decode.
      names: the paths of every row's images, below the image folder.
      folder: the folder to write to; work that an earlier call with the same arguments left there is resumed.
      array: the file of the pixels, if it is not `folder/image.npy`.
      engine: what decodes; by default this process. With several processes, call this under
        `if __name__ == "__main__":`. Images in memory are always decoded in this process.
      progress: called with the number of rows that are done.
    """
    rows = len(names)
    paths = (array or folder / "image.npy", folder / "thumb.npy")
    pixels, thumbs = _arrays(paths, rows, job, len(names[0]))
    journal = folder / "journal.jsonl"
    starts = range(0, rows, CHUNK)
    chunks = {start: names[start : start + CHUNK] for start in starts}
    done = _still_valid(_lines(journal), chunks, job, pixels, thumbs)
    journal.write_text("".join(map(_written, done.values())))
    finished = sum(len(chunks[start]) for start in done)
    progress(finished)
    if engine is None or job.memory is not None:
        engine = Processes()
    begin = functools.partial(_decoder, job, paths, pixels.shape)
    todo = [(start, chunk) for start, chunk in chunks.items() if start not in done]
    with journal.open("a") as file, contextlib.closing(engine.run(begin, todo)) as lines:
        for _, line in lines:
            line = typed(Line, line, "a worker that decodes images")
            file.write(_written(line))
            file.flush()
            done[line["start"]] = line
            finished += len(chunks[line["start"]])
            progress(finished)
    bad: dict[int, tuple[str, str]] = {}
    sizes: Counter[tuple[int, ...]] = Counter()
    shapes: list[tuple[int, ...] | None] = []
    sums = np.zeros(rows, np.uint32)
    for start, line in sorted(done.items()):
        bad.update({start + index: (cause, sentence) for index, cause, sentence in line["bad"]})
        sizes.update({tuple(size): count for *size, count in line["sizes"]})
        shapes += [None if size is None else tuple(size) for size in line["shapes"]]
        sums[start : start + len(line["sums"])] = line["sums"]
    return Decoded(bad, sizes, sums, shapes)


def decode_chunk(job: DecodeJob, start: int, chunk: Sequence[Names], target: "DecodeTarget") -> Line:
    """Decode a chunk into the rows from `start` on, with zeros for unusable images; return its journal line."""
    bad, sizes, sums = [], Counter[tuple[int, ...]](), []
    shapes: list[tuple[int, ...] | None] = []
    for row, names in enumerate(chunk):
        out, of_row = target.pixels[row], list[tuple[int, ...]]()
        try:
            _decode_row(job, names, out, of_row)
        except Unusable as error:
            out[...] = 0
            bad.append((row, error.cause, str(error)))
        sizes.update(of_row)
        shapes.append(of_row[0] if of_row else None)
        sums.append(zlib.crc32(out.data))
    thumbs = target.write(start, len(chunk))
    return {
        "start": start,
        "bad": bad,
        "sizes": [(*size, count) for size, count in sizes.items()],
        "sums": sums,
        "shapes": shapes,
        "thumbs": thumbs,
        "files": _files(job, chunk),
    }


def _decode_row(job: DecodeJob, names: Names, out: np.ndarray, sizes: list[tuple[int, ...]]) -> None:
    """Decode the images of a row into `out`, and append the size of each that was read to `sizes`.

    Raises:
      Unusable: an image cannot be used.
    """
    channels = job.shape[-1]
    if job.kind == "mask" and not any(names):  # a mask of the first class alone
        out[...] = 0
        return
    for index, name in enumerate(names):
        image, size = job.image(name)
        sizes.append(size)
        if job.same_size and size != job.shape[:-1]:
            raise Unusable("other size", f"The image {name} has the size {' x '.join(map(str, size))}.")
        if out.ndim > len(job.shape):
            out[index] = image
        else:
            out[..., index * channels : (index + 1) * channels] = image


def decode_images(
    job: DecodeJob, chunk: Sequence[tuple[str | None, ...]], stored: tuple[int, ...]
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the images of rows in the shape `[rows, *stored]`, and a sentence on each row that has no usable image.

    The pixels of these rows are 0.
    """
    images, bad = np.zeros((len(chunk), *stored), job.dtype), dict[int, str]()
    for row, names in enumerate(chunk):
        try:
            require(bool(names) and all(names), "missing image", "The row has no image.")
            _decode_row(job, tuple(map(str, names)), images[row], [])
        except Unusable as error:
            images[row], bad[row] = 0, str(error)
    return images, bad


class DecodeTarget:
    """The files that chunks are written to, each chunk in one piece: faster than page by page through a mapping."""

    def __init__(self, pixels: np.ndarray, thumbs: np.ndarray, *, views: bool = False) -> None:
        """Open the files of the mapped arrays; with `views`, a row of `pixels` has several images."""
        self._files, self.views = [], views
        for array in (pixels, thumbs):
            self._files.append((array, open(array.filename, "r+b")))  # type: ignore[attr-defined]  # noqa: SIM115
        self.pixels = np.zeros((CHUNK, *pixels.shape[1:]), pixels.dtype)

    def close(self) -> None:
        """Close the files."""
        for _, file in self._files:
            file.close()

    def write(self, start: int, rows: int) -> int:
        """Write the first `rows` of the buffer and their thumbnails from row `start` on; return a checksum of these."""
        first = self.pixels[:rows, 0] if self.views else self.pixels[:rows]
        thumbs = thumbnails(first)
        for (array, file), values in zip(self._files, (self.pixels[:rows], thumbs), strict=True):
            file.seek(array.offset + start * values[0].nbytes)  # type: ignore[attr-defined]
            file.write(values.data)
            file.flush()
        return zlib.crc32(thumbs.data)


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return thumbnails `[N, THUMB, THUMB]` uint8 of images `[N, H, W, C]`, for finding near duplicates.

    A thumbnail has block means of one channel, over a subset of the pixels. Of volumes `[N, D, H, W, C]` the middle
    slices are taken. Images deeper than 8 bits are scaled by their own range.
    """
    if images.ndim == 5:
        images = images[:, images.shape[1] // 2]
    if images.dtype != np.uint8:
        images = np.stack([to_uint8(image, "minmax", nan="background") for image in images])
    plane = images[..., images.shape[-1] // 2]  # green, or the only channel
    step = [max(1, length // (2 * THUMB)) for length in plane.shape[1:]]
    plane = plane[:, :: step[0], :: step[1]]
    for axis in (1, 2):
        edges = np.linspace(0, plane.shape[axis], THUMB + 1).astype(int)
        counts = np.maximum(np.diff(edges), 1).reshape((-1, 1) if axis == 1 else (1, -1))
        starts = np.minimum(edges[:-1], plane.shape[axis] - 1)
        plane = np.add.reduceat(plane, starts, axis=axis, dtype=np.float32) / counts
    return plane.astype(np.uint8)


@contextlib.contextmanager
def _decoder(job: DecodeJob, paths: tuple[Path, Path], shape: tuple[int, ...]) -> Iterator[Callable[[Any], Line]]:
    """Open the files of pixels and thumbnails, and give the function that decodes a chunk, `(start, names)`."""
    pixels, thumbs = (open_memmap(path, mode="r+") for path in paths)
    with contextlib.closing(DecodeTarget(pixels.reshape(shape), thumbs, views=len(shape) > len(job.shape) + 1)) as to:
        yield lambda work: decode_chunk(job, work[0], work[1], to)


def _arrays(paths: tuple[Path, Path], rows: int, job: DecodeJob, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of pixels and thumbnails, one row per row; existing files of the right shape are reused."""
    shape = rows, *job.stored(images)
    in_file = (rows * images, *job.shape) if len(shape) > len(job.shape) + 1 else shape
    arrays = []
    for path, dimensions, kind in zip(paths, (in_file, (rows, THUMB, THUMB)), (job.dtype, "uint8"), strict=True):
        with contextlib.suppress(OSError, ValueError):
            if path.is_file() and (array := open_memmap(path, mode="r+")).shape == dimensions and array.dtype == kind:
                arrays.append(array)
                continue
        arrays.append(open_memmap(path, mode="w+", dtype=kind, shape=dimensions))
        reserve(path)
    return arrays[0].reshape(shape), arrays[1]


def _lines(journal: Path) -> Iterator[Line]:
    """Yield the lines of the journal, except those that were cut off or damaged."""
    if journal.is_file():
        for line in journal.read_text(errors="replace").splitlines():
            checksum, _, text = line.partition(" ")
            if checksum == _checksum(text):
                with contextlib.suppress(ValueError, UserError):
                    yield typed(Line, parse(text), str(journal))


def _written(line: Line) -> str:
    text = to_json(line)
    return f"{_checksum(text)} {text}\n"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _still_valid(
    lines: Iterator[Line], chunks: dict[int, Sequence[Names]], job: DecodeJob, pixels: np.ndarray, thumbs: np.ndarray
) -> dict[int, Line]:
    """Return the journal lines of the chunks whose names, files, pixels and thumbnails are unchanged."""
    valid = {}
    for line in lines:
        start, sums = line["start"], line["sums"]
        chunk = chunks.get(start, ())
        unchanged = len(sums) == len(chunk) == len(line.get("shapes", ())) and line["files"] == _files(job, chunk)
        unchanged = unchanged and zlib.crc32(thumbs[start : start + len(chunk)].data) == line["thumbs"]
        if unchanged and all(zlib.crc32(pixels[start + row]) == value for row, value in enumerate(sums)):
            valid[start] = line
    return valid


def _files(job: DecodeJob, chunk: Sequence[Names]) -> int:
    """Return a checksum of the names, sizes and times of a chunk's files, which tells whether they changed."""
    total = 0
    if job.memory is not None:  # the request has a fingerprint of these images, and starts anew if it differs
        return total
    for name in (name for row in chunk for name in row):
        path = os.path.join(job.root, name)
        parts = [entry.path for entry in os.scandir(path)] if job.kind == "volume" and os.path.isdir(path) else [path]
        for part in sorted(parts):
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(part)
                total = zlib.crc32(f"{part} {status.st_size} {status.st_mtime_ns}".encode(), total)
    return total
