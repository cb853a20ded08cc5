"""New rows of a table and images, to be embedded: read in pieces, while worker processes decode the images."""

import contextlib
import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.schema import LABEL_TAG
from mmcl_jax.data.workers import pool
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.new_rows import image_job
from mmcl_jax.export.embeddings.chunk import Cells, Chunk, Lost, Reasons, Skip, encode_table, unusual_cells
from mmcl_jax.prepare.images.decode import DecodeJob, decode_images
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.pieces import TablePieces
from mmcl_jax.prepare.table.rows import keys_of, read_rows
from mmcl_jax.prepare.table.table import RawTable, is_parquet, require_columns
from mmcl_jax.text import called
from mmcl_jax.training.runs.run import Run

FILE = "file"  # the column of the images of a folder that is embedded without a table
_DECODED = 32  # rows that a worker process decodes at once
_AHEAD = 2  # chunks whose images are decoded before they are needed

Names = list[tuple[str | None, ...]]
Images = tuple[np.ndarray, dict[int, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewData:
    """A table and images, as callers give them.

    Attributes:
      table: a file or a data frame; None for the images of a folder alone.
      images: their folder, or images in memory; None for a table alone.
      image_column: columns with the paths in that folder, or with the indices in memory; by default those of the run.
      key_column: the column of the keys; by default that of the run, where the table has it, and else the image path.
      separator: between the cells of a text file.
      encoding: of a text file.
      follow_links: another folder that links in `images` may lead into.
    """

    table: Path | pl.DataFrame | None
    images: Path | ImageArrays | None
    image_column: tuple[str, ...] = ()
    key_column: str | None = None
    separator: str | None = None
    encoding: str = "utf-8"
    follow_links: Path | None = None

    def with_table(self) -> "NewData":
        """Return the same with a table: of the files in the folder of the images, in the order of their paths.

        Raises:
          UserError: there is no such folder.
        """
        if self.table is not None:
            return self
        folder = self.images
        assert isinstance(folder, Path)
        check(folder.is_dir(), f"--images: the folder {folder} does not exist.")
        column = f"--image-column names a column of a table; give --table, or leave it out to embed all of {folder}."
        check(not self.image_column and not self.key_column, column)
        frame = pl.DataFrame({FILE: _files(folder)}, schema={FILE: pl.String})
        return dataclasses.replace(self, table=frame, image_column=(FILE,))

    def identity(self) -> dict[str, Any]:
        """Return what tells whether other data is given, as JSON values."""
        options = ("image_column", "key_column", "separator", "encoding", "follow_links")
        return {
            "table": _table_identity(self.table),
            "images": self.images.fingerprint() if isinstance(self.images, ImageArrays) else _absolute(self.images),
            **{name: str(getattr(self, name)) for name in options},
        }


def _table_identity(table: Path | pl.DataFrame | None) -> Any:
    if isinstance(table, Path):
        is_parquet(table)  # raises if there is no such table
        return path_identity(table)
    if table is None:
        return None
    digest = hashlib.sha256(str(table.schema).encode())
    digest.update(table.hash_rows().to_numpy().tobytes())
    return digest.hexdigest()


def _absolute(path: Path | None) -> str | None:
    return None if path is None else called(path.absolute())


def _files(folder: Path) -> list[str]:
    """Return the paths of all files in a folder and its folders, but hidden ones, relative to it and sorted."""
    paths = []
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [os.path.relpath(os.path.join(directory, name), folder) for name in names if not name.startswith(".")]
    for path in paths:
        unicode = path.encode("utf-8", "replace").decode() == path
        check(unicode, f"--images: the name of {os.path.join(folder, path)} is not in UTF-8; rename the file.")
    return sorted(paths)


def path_identity(path: Path) -> list[Any]:
    """Return what tells whether a file has changed: its path, size and time of change."""
    status = path.stat()
    return [called(path.absolute()), status.st_size, status.st_mtime_ns]


class NewRows:
    """The rows of a table with their images, in the form that the encoders of a run read."""

    refused: Sequence[Lost] = ()
    remarks: Sequence[str] = ()

    def __init__(
        self, run: Run, request: Request, data: NewData, inputs: Sequence[str], *, size: int, workers: int
    ) -> None:
        """Open the table.

        Args:
          run: whose encoders read the rows.
          request: that prepared the store of the run, which decides how images are resized.
          data: the table and images.
          inputs: of the run, that are read.
          size: rows of a chunk.
          workers: processes that decode images.

        Raises:
          UserError: a file, a folder or a column is missing.
        """
        assert data.table is not None
        self._run, self._inputs, self.size, self._workers = run, inputs, size, workers
        self._table = TablePieces(data.table, separator=data.separator, encoding=data.encoding)
        self.rows = self._table.rows
        specs = {name: run.inputs.specs[name] for name in inputs}
        for name, spec in specs.items():
            check(spec.kind in ("table", "image"), f"--input: {name!r} is a {spec.kind}; name its file with --request.")
        self._tables = {name: run.inputs.tables[name] for name, spec in specs.items() if spec.kind == "table"}
        self._images = [name for name, spec in specs.items() if spec.kind == "image"]
        self._paths, present = self._image_columns(data), self._table.columns
        self._job = self._image_job(data, request) if self._images else None
        identifiers = [name for name in run.declaration.named("identifier") if name in present]
        self._key_column = data.key_column or next(iter(identifiers), None)
        features = [one.name for of in self._tables.values() for one in of.schema.columns if LABEL_TAG not in one.tags]
        keys = [] if self._key_column is None else [self._key_column]
        self._columns = list(dict.fromkeys([*features, *self._paths, *keys]))
        require_columns(present, self._columns, self._table.source)

    def _image_columns(self, data: NewData) -> tuple[str, ...]:
        """Return the columns with the paths of images, which are keys where there is no column of keys."""
        names = data.image_column or tuple(self._run.declaration.named("image"))
        needed = self._images or data.image_column
        return names if needed else tuple(name for name in names if name in self._table.columns)

    def _image_job(self, data: NewData, request: Request) -> DecodeJob:
        folder = data.images
        check(folder is not None, f"--input: {self._images[0]!r} needs images; name their folder with --images.")
        check(bool(self._paths), "--image-column: name the column of the table with the paths of the images.")
        if isinstance(folder, Path):
            check(folder.is_dir(), f"--images: the folder {folder} does not exist.")
        return image_job(
            self._run.inputs,
            request,
            self._images[0],
            images=len(self._paths),
            root=folder if isinstance(folder, Path) else None,
            memory=folder if isinstance(folder, ImageArrays) else None,
            links=data.follow_links,
        )

    def chunks(self, skip: Skip) -> Iterator[tuple[int, Chunk]]:
        """Yield the chunks by index, from 0, except those to skip; meanwhile, images of further chunks are decoded."""
        pieces = self._table.read(self.size, columns=self._columns, skip=skip)
        waiting: deque[tuple[int, RawTable, Names, list[Future[Images]]]] = deque()
        with contextlib.ExitStack() as resources:
            processes = None
            if self._job is not None and self._job.memory is None and self._workers > 1:
                processes = pool(self._workers)
                resources.callback(processes.shutdown, cancel_futures=True)
            for index, piece in pieces:
                names = self._names(piece)
                waiting.append((index, piece, names, self._decoding(processes, names)))
                if len(waiting) > _AHEAD:
                    yield self._chunk(*waiting.popleft())
            while waiting:
                yield self._chunk(*waiting.popleft())

    def _names(self, piece: RawTable) -> Names:
        """Return the names of the images of every readable record; () without images."""
        texts = [keys_of(piece.frame[name]).to_list() for name in self._paths]
        return list(zip(*texts, strict=True)) if texts else [()] * piece.frame.height

    def _decoding(self, processes: ProcessPoolExecutor | None, names: Names) -> list[Future[Images]]:
        if processes is None or self._job is None:
            return []
        stored = self._job.stored(len(self._paths))
        parts = (names[start : start + _DECODED] for start in range(0, len(names), _DECODED))
        return [processes.submit(decode_images, self._job, part, stored) for part in parts]

    def _chunk(self, index: int, piece: RawTable, names: Names, decoding: list[Future[Images]]) -> tuple[int, Chunk]:
        first = index * self.size
        count = piece.frame.height + len(piece.bad)
        good = piece.numbers - 1 - first  # positions of the readable records
        inputs: dict[str, np.ndarray] = {}
        refused: dict[str, Reasons] = {"": {number - 1 - first: reason for number, reason in piece.bad}}
        unseen, outside, absent = Cells(), Cells(), dict[str, list[int]]()
        for name, encoding in self._tables.items():
            raw = read_rows(piece.frame, encoding.schema, self._run.declaration, self._table.source)
            encoded, reasons = encode_table(encoding, raw.values)
            reasons |= dict(reversed(raw.bad))
            rare, far = unusual_cells(encoding, raw.values, name)
            unseen, outside = unseen + rare, outside + far
            inputs[name] = np.zeros((count, encoded.shape[1]), np.float32)
            inputs[name][good] = encoded
            refused[name] = _at(good, reasons)
        if self._job is not None:
            images, reasons = self._decoded(self._job, names, decoding)
            pixels = images
            if len(good) < count:
                pixels = np.zeros((count, *images.shape[1:]), images.dtype)
                pixels[good] = images
            inputs |= dict.fromkeys(self._images, pixels)
            refused |= dict.fromkeys(self._images, _at(good, reasons))
            unnamed = [int(good[row]) for row in reasons if not any(names[row])]
            absent = dict.fromkeys(self._images, unnamed)
        keys: list[str | None] = [None] * count
        for position, key in zip(good.tolist(), self._keys(piece.frame, names), strict=True):
            keys[position] = key
        rows = first + np.arange(count)
        chunk = Chunk(
            keys=keys, rows=rows, inputs=inputs, refused=refused, absent=absent, unseen=unseen, outside=outside
        )
        return index, chunk

    def _decoded(self, job: DecodeJob, names: Names, decoding: list[Future[Images]]) -> Images:
        """Return the images of all rows, from the worker processes or decoded here, and why rows have none."""
        if not decoding:
            return decode_images(job, names, job.stored(len(self._paths)))
        parts = [future.result() for future in decoding]
        reasons = {part * _DECODED + row: why for part, (_, bad) in enumerate(parts) for row, why in bad.items()}
        return np.concatenate([images for images, _ in parts]), reasons

    def _keys(self, frame: pl.DataFrame, names: Names) -> list[str | None]:
        """Return the key of every readable record: of its column, or else the path of its first image."""
        if self._key_column is not None:
            return [key or None for key in keys_of(frame[self._key_column])]
        return [next(iter(row), None) or None for row in names]


def _at(positions: np.ndarray, reasons: Mapping[int, str]) -> Reasons:
    """Return the reasons by position, of reasons by the index of the readable record."""
    return {int(positions[row]): reason for row, reason in reasons.items()}
