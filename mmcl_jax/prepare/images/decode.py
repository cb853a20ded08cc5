"""Every image of a table, once, by several processes, into one mapped array.

Rows are decoded in chunks. A chunk's line is written to the journal after its pixels, so a decoding that was stopped at
any moment continues: chunks whose line, pixels and files are unchanged are not decoded again.

Worker processes are spawned: they import this file and what it imports, which is why that is little.
"""

import contextlib
import dataclasses
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.data.workers import pool
from mmcl_jax.prepare.images.files import Fit, Reader, locate, read_image
from mmcl_jax.prepare.images.levels import to_uint8
from mmcl_jax.prepare.images.masks import read_mask
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.images.unusable import Unusable
from mmcl_jax.prepare.images.volume import read_volume

CHUNK = 64
THUMB = 16
Names = tuple[str, ...]
Line = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeJob:
    """What to decode, and how.

    Attributes:
      root: the image folder's real path.
      links: the real path of another folder that links may lead into.
      kind: "image", "volume" or "mask".
      shape: (height, width, channels) of one image, (depth, height, width, channels) of a volume.
      dtype: that is stored: "uint8", "uint16" or, of a volume, "float16".
      values: of the classes of a mask, in order; () for any.
      stack: several images of a row become "channels" of one, or "views" along a leading axis.
      same_size: every image must have the shape's size in its file.
      fit: how images are made to fit.
      read: reads a file instead of the ordinary readers.
      memory: images in memory, which names are of, instead of files; they are decoded in this process.
    """

    root: str
    shape: tuple[int, ...]
    kind: Literal["image", "volume", "mask"] = "image"
    dtype: str = "uint8"
    values: tuple[int, ...] = ()
    stack: Literal["channels", "views"] = "channels"
    same_size: bool = False
    fit: Fit = dataclasses.field(default_factory=Fit)
    read: Reader | None = None
    links: str | None = None
    memory: ImageArrays | None = None

    def stored(self, images: int) -> tuple[int, ...]:
        """Return the shape of a row with so many images."""
        if images > 1 and self.stack == "views":
            return images, *self.shape
        return *self.shape[:-1], self.shape[-1] * images

    def image(self, name: str) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the image of a file, and the size that it has there.

        Raises:
          Unusable: it cannot be used.
        """
        if self.memory is not None:
            height, width, channels = self.shape
            return self.memory.read(name, (height, width, channels), self.fit, self.dtype)
        path = locate(self.root, name, self.links, folders=self.kind == "volume")
        if self.kind == "image":
            height, width, channels = self.shape
            return read_image(path, (height, width, channels), self.fit, read=self.read, dtype=self.dtype)
        if self.kind == "mask":
            return read_mask(path, self.shape, self.fit, self.values)
        return read_volume(path, self.shape, self.fit, self.dtype)


@dataclasses.dataclass
class Decoded:
    """What decoding found: `bad` (cause, sentence) by row, sizes in the files, and by row a sum of its pixels.

    `shapes` are the sizes of the first image of each row, None where it was not read.
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
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> Decoded:
    """Decode the images of every row into `folder/image.npy` `[rows, ...]` and `folder/thumb.npy`.

    Several images of a row, one beside the other, are rows of the file that follow one another.

    Args:
      job: how.
      names: paths below the image folder, of every row.
      folder: where to; what an earlier call with the same arguments left there is used.
      array: the file of the images, if it is not `folder/image.npy`.
      workers: processes; 1 decodes in this one. With more, call it under `if __name__ == "__main__":`.
      progress: is told the number of rows that are done.
    """
    rows = len(names)
    paths = (array or folder / "image.npy", folder / "thumb.npy")
    pixels, thumbs = _arrays(paths, rows, job, len(names[0]))
    journal = folder / "journal.jsonl"
    starts = range(0, rows, CHUNK)
    chunks = {start: names[start : start + CHUNK] for start in starts}
    done = _still_valid(_lines(journal), chunks, job, pixels, thumbs)
    journal.write_text("".join(json.dumps(line) + "\n" for line in done.values()))
    finished = sum(len(chunks[start]) for start in done)
    progress(finished)
    with journal.open("a") as file:
        todo = [(start, chunk) for start, chunk in chunks.items() if start not in done]
        with contextlib.closing(_work(job, todo, paths, pixels, thumbs, min(workers, len(todo)))) as lines:
            for line in lines:
                file.write(json.dumps(line) + "\n")
                file.flush()
                done[line["start"]] = line
                finished += len(chunks[line["start"]])
                progress(finished)
    bad: dict[int, tuple[str, str]] = {}
    sizes: Counter[tuple[int, ...]] = Counter()
    shapes: list[tuple[int, ...] | None] = []
    sums = np.zeros(rows, np.uint32)
    for start, line in sorted(done.items()):
        bad.update({start + place: (cause, sentence) for place, cause, sentence in line["bad"]})
        sizes.update({tuple(size): count for *size, count in line["sizes"]})
        shapes += [None if size is None else tuple(size) for size in line["shapes"]]
        sums[start : start + len(line["sums"])] = line["sums"]
    return Decoded(bad, sizes, sums, shapes)


def decode_chunk(job: DecodeJob, start: int, chunk: Sequence[Names], target: "DecodeTarget") -> Line:
    """Decode the rows `start`... into the arrays, zeros for unusable images; return the journal's line."""
    bad, sizes, sums = [], Counter[tuple[int, ...]](), []
    shapes: list[tuple[int, ...] | None] = []
    channels = job.shape[-1]
    for place, names in enumerate(chunk):
        out = target.pixels[place]
        shapes.append(None)
        try:
            for index, name in enumerate(names):
                image, size = job.image(name)
                sizes[size] += 1
                shapes[-1] = shapes[-1] or size
                if job.same_size and size != job.shape[:-1]:
                    raise Unusable("other size", f"The image {name} has the size {' x '.join(map(str, size))}.")
                if out.ndim > len(job.shape):
                    out[index] = image
                else:
                    out[..., index * channels : (index + 1) * channels] = image
        except Unusable as error:
            out[...] = 0
            bad.append((place, error.cause, str(error)))
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


class DecodeTarget:
    """Where chunks go: a buffer, written in one piece, which is faster than page by page through a mapping."""

    def __init__(self, pixels: np.ndarray, thumbs: np.ndarray, *, views: bool = False) -> None:
        """Take the mapped arrays, and whether a row of the first has several images side by side."""
        self._files, self.views = [], views
        for array in (pixels, thumbs):
            self._files.append((array, open(array.filename, "r+b")))  # type: ignore[attr-defined]  # noqa: SIM115
        self.pixels = np.zeros((CHUNK, *pixels.shape[1:]), pixels.dtype)

    def close(self) -> None:
        """Close the files."""
        for _, file in self._files:
            file.close()

    def write(self, start: int, rows: int) -> int:
        """Write the first rows of the buffer, and thumbnails, as the rows `start`...; return a sum over thumbnails."""
        first = self.pixels[:rows, 0] if self.views else self.pixels[:rows]
        thumbs = thumbnails(first)
        for (array, file), values in zip(self._files, (self.pixels[:rows], thumbs), strict=True):
            file.seek(array.offset + start * values[0].nbytes)  # type: ignore[attr-defined]
            file.write(values.data)
            file.flush()
        return zlib.crc32(thumbs.data)


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Reduce `[N, H, W, C]` to `[N, THUMB, THUMB]` uint8, for comparisons: block means of one channel, thinned out.

    Of volumes `[N, D, H, W, C]` the middle slices. The range of each image deeper than 8 bits becomes theirs.
    """
    if images.ndim == 5:
        images = images[:, images.shape[1] // 2]
    if images.dtype != np.uint8:
        images = np.stack([to_uint8(image, "minmax", nan="background") for image in images])
    plane = images[..., images.shape[-1] // 2]  # green, or the only one
    thin = [max(1, length // (2 * THUMB)) for length in plane.shape[1:]]
    plane = plane[:, :: thin[0], :: thin[1]]
    for axis in (1, 2):
        edges = np.linspace(0, plane.shape[axis], THUMB + 1).astype(int)
        counts = np.maximum(np.diff(edges), 1).reshape((-1, 1) if axis == 1 else (1, -1))
        starts = np.minimum(edges[:-1], plane.shape[axis] - 1)
        plane = np.add.reduceat(plane, starts, axis=axis, dtype=np.float32) / counts
    return plane.astype(np.uint8)


def _work(
    job: DecodeJob,
    todo: list[tuple[int, Sequence[Names]]],
    paths: tuple[Path, Path],
    pixels: np.ndarray,
    thumbs: np.ndarray,
    workers: int,
) -> Generator[Line, None, None]:
    if workers <= 1 or job.memory is not None:
        with contextlib.closing(_target(job, pixels, thumbs)) as target:
            for start, chunk in todo:
                yield decode_chunk(job, start, chunk, target)
        return
    processes = pool(workers, _begin, job, paths, pixels.shape)
    waiting: set[Future[Line]] = set()
    rest = iter(todo)
    try:
        while True:
            for start, chunk in rest:
                waiting.add(processes.submit(_chunk_in_worker, start, chunk))
                if len(waiting) >= 4 * workers:
                    break
            if not waiting:
                return
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    finally:
        processes.shutdown(cancel_futures=True)


_mine: dict[str, Any] = {}  # what a worker process was begun with


def _begin(job: DecodeJob, paths: tuple[Path, Path], shape: tuple[int, ...]) -> None:
    pixels, thumbs = (open_memmap(path, mode="r+") for path in paths)
    _mine.update(job=job, target=_target(job, pixels.reshape(shape), thumbs))


def _target(job: DecodeJob, pixels: np.ndarray, thumbs: np.ndarray) -> DecodeTarget:
    return DecodeTarget(pixels, thumbs, views=pixels.ndim > len(job.shape) + 1)


def _chunk_in_worker(start: int, chunk: Sequence[Names]) -> Line:
    return decode_chunk(_mine["job"], start, chunk, _mine["target"])


def _arrays(paths: tuple[Path, Path], rows: int, job: DecodeJob, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Make or open the arrays of pixels, a row each, and of thumbnails."""
    shape = rows, *job.stored(images)
    in_file = (rows * images, *job.shape) if len(shape) > len(job.shape) + 1 else shape
    made = []
    for path, dimensions, kind in zip(paths, (in_file, (rows, THUMB, THUMB)), (job.dtype, "uint8"), strict=True):
        with contextlib.suppress(OSError, ValueError):
            if path.is_file() and (array := open_memmap(path, mode="r+")).shape == dimensions and array.dtype == kind:
                made.append(array)
                continue
        made.append(open_memmap(path, mode="w+", dtype=kind, shape=dimensions))
    return made[0].reshape(shape), made[1]


def _lines(journal: Path) -> Iterator[Line]:
    """Yield the journal's lines; a last line that was cut off is left out."""
    if journal.is_file():
        for line in journal.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def _still_valid(
    lines: Iterator[Line], chunks: dict[int, Sequence[Names]], job: DecodeJob, pixels: np.ndarray, thumbs: np.ndarray
) -> dict[int, Line]:
    """Return the lines of chunks that need not be decoded again."""
    valid = {}
    for line in lines:
        start, sums = line["start"], line["sums"]
        chunk = chunks.get(start, ())
        same = len(sums) == len(chunk) == len(line.get("shapes", ())) and line["files"] == _files(job, chunk)
        same = same and zlib.crc32(thumbs[start : start + len(chunk)].data) == line["thumbs"]
        if same and all(zlib.crc32(pixels[start + place]) == value for place, value in enumerate(sums)):
            valid[start] = line
    return valid


def _files(job: DecodeJob, chunk: Sequence[Names]) -> int:
    """Return a sum of the names, sizes and times of the files of a chunk, by which changes are noticed."""
    total = 0
    if job.memory is not None:  # the whole request is begun anew where another image is given
        return total
    for name in (name for row in chunk for name in row):
        path = os.path.join(job.root, name)
        parts = [entry.path for entry in os.scandir(path)] if job.kind == "volume" and os.path.isdir(path) else [path]
        for part in sorted(parts):
            with contextlib.suppress(OSError, ValueError):
                found = os.stat(part)
                total = zlib.crc32(f"{part} {found.st_size} {found.st_mtime_ns}".encode(), total)
    return total
