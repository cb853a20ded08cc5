"""New rows, which are in no store, in the form that the encoders of a run read."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.schema import LABEL_TAG
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.decode import DecodeJob, decode_images
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import raw_rows
from mmcl_jax.prepare.table.table import IN_MEMORY, in_memory

Names = Sequence[tuple[str | None, ...]]


def table_rows(frame: pl.DataFrame, inputs: Inputs, declaration: Declaration, modality: str) -> np.ndarray:
    """Return new rows of a table, encoded `[N, F]` float32 like the rows of training.

    A category that no training row has is a missing value, with a warning.

    Args:
      frame: with the columns of the input; others are not read.
      inputs: of the run.
      declaration: of the run, which decides how cells are read.
      modality: of the table.

    Raises:
      UserError: a column is absent, a cell is not of its column's kind, or a value is missing and the run refuses
        missing values.
    """
    encoding = inputs.tables[modality]
    values, unknown = raw_rows(in_memory(frame).frame, encoding.schema, declaration, IN_MEMORY)
    for column, count in zip(encoding.schema.columns, unknown, strict=True):
        if count and LABEL_TAG not in column.tags:
            warnings.warn(
                f"Column {column.name!r}: {count} cells are categories that no training row has, and are missing.",
                stacklevel=2,
            )
    return encoding.encode(values)


def image_job(
    inputs: Inputs,
    request: Request,
    modality: str,
    *,
    images: int,
    root: Path | None = None,
    memory: ImageArrays | None = None,
    links: Path | None = None,
) -> DecodeJob:
    """Return how the images of new rows are decoded into the shape that the run reads.

    Args:
      inputs: of the run, which decide the shape.
      request: that prepared the store of the run, which decides how images are resized.
      modality: of the images.
      images: the number of images of a row.
      root: the folder of the files.
      memory: the images, in place of files.
      links: another folder that links may lead into; by default that of the request.

    Raises:
      UserError: the run reads rows with another number of images.
    """
    entry = inputs.schema.entries[inputs.specs[modality].of]
    height, width, channels = entry.shape
    links = request.follow_links if links is None else links
    stacked = images if request.stack == "channels" else 1
    job = DecodeJob(
        root="" if root is None else str(root.resolve()),
        shape=(height, width, max(1, channels // stacked)),
        dtype=entry.dtype,
        stack=request.stack,
        same_size=False,
        fit=request.fit,
        links=None if links is None else str(links.resolve()),
        memory=memory,
    )
    stored = job.stored(images)
    sizes = " x ".join(map(str, entry.stored)), " x ".join(map(str, stored))
    check(
        stored == entry.stored,
        f"The run reads images of {sizes[0]}, and the columns of {IN_MEMORY} hold images of {sizes[1]}.",
    )
    return job


class ImageRows:
    """The images of new rows, decoded on access: `rows[a:b]` is `[b - a, H, W, C]`.

    With several images per row that are not stacked as channels, it is `[b - a, V, H, W, C]`.

    Args:
      names: of the images of every row: paths relative to the folder of `job`, or keys of its memory.
      job: how to decode (see `image_job`).
    """

    def __init__(self, names: Names, job: DecodeJob) -> None:
        self._names, self._job = names, job
        self._stored = job.stored(len(names[0]))

    @property
    def ndim(self) -> int:
        """The number of axes of the rows."""
        return 1 + len(self._stored)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all rows."""
        return len(self), *self._stored

    def __len__(self) -> int:
        return len(self._names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self._job.dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return the images of a slice of rows.

        Raises:
          UserError: naming the row whose image is absent or cannot be used.
        """
        numbers = range(len(self))[rows]
        images, bad = decode_images(self._job, [self._names[row] for row in numbers], self._stored)
        for row, sentence in bad.items():
            number = numbers[row] + 1
            check(all(self._names[number - 1]), f"Row {number} of {IN_MEMORY} has no image, which the encoder needs.")
            raise UserError(f"Row {number} of {IN_MEMORY}: {sentence}")
        return images
