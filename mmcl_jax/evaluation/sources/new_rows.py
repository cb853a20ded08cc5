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
from mmcl_jax.prepare.images.decode import DecodeJob
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


class ImageRows:
    """The images of new rows, decoded on access: `rows[a:b]` is `[b - a, H, W, C]`.

    With several images per row that are not stacked as channels, it is `[b - a, V, H, W, C]`.

    Args:
      names: of the images of every row: paths relative to `root`, or keys of `memory`.
      inputs: of the run, which decide the shape.
      request: that prepared the store of the run, which decides how images are resized.
      modality: of the images.
      root: the folder of the files.
      memory: the images, in place of files.
    """

    def __init__(
        self,
        names: Names,
        inputs: Inputs,
        request: Request,
        modality: str,
        *,
        root: Path | None = None,
        memory: ImageArrays | None = None,
    ) -> None:
        entry = inputs.schema.entries[inputs.specs[modality].of]
        height, width, channels = entry.shape
        count = len(names[0]) if len(names) else entry.pictures
        stacked = count if request.stack == "channels" else 1
        links = request.follow_links
        self._names, self._stored, self._dtype = names, entry.stored, entry.dtype
        self._job = DecodeJob(
            root="" if root is None else str(root.resolve()),
            shape=(height, width, channels // stacked),
            dtype=entry.dtype,
            stack=request.stack,
            same_size=False,
            fit=request.fit,
            links=None if links is None else str(links.resolve()),
            memory=memory,
        )
        stored = self._job.stored(count)
        sizes = " x ".join(map(str, entry.stored)), " x ".join(map(str, stored))
        check(
            stored == entry.stored,
            f"The run reads images of {sizes[0]}, and the columns of {IN_MEMORY} hold images of {sizes[1]}.",
        )

    @property
    def ndim(self) -> int:
        """The number of axes of the rows."""
        return 1 + len(self._stored)

    def __len__(self) -> int:
        return len(self._names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self._dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return the images of a slice of rows.

        Raises:
          UserError: naming the row whose image is absent or cannot be used.
        """
        numbers = range(len(self))[rows]
        images = np.zeros((len(numbers), *self._stored), self._dtype)
        channels = self._job.shape[-1]
        for out, row in zip(images, numbers, strict=True):
            for index, name in enumerate(self._names[row]):
                if not name:
                    raise UserError(f"Row {row + 1} of {IN_MEMORY} has no image, which the encoder needs.")
                try:
                    picture, _ = self._job.image(name)
                except UserError as error:
                    raise UserError(f"Row {row + 1} of {IN_MEMORY}: {error}") from error
                if out.ndim > len(self._job.shape):
                    out[index] = picture
                else:
                    out[..., index * channels : (index + 1) * channels] = picture
        return images
