"""Images as callers give them: a folder that a column of the table names files of, or an image per row."""

import dataclasses
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.api.given import path_of
from mmcl_jax.errors import check
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.table.table import IN_MEMORY, require_columns

COLUMN = "image_index"  # of images without a column; they are named by their index


def is_folder(given: Any) -> bool:
    """Return whether images are files in a folder, which a column of the table names."""
    return isinstance(given, str | PathLike)


def beside(frame: pl.DataFrame | None, images: Any) -> tuple[pl.DataFrame, ImageArrays | Path, tuple[str, ...]]:
    """Return the table with a column that names an image for every row, where the images are, and the column.

    Args:
      frame: N rows; None for images alone.
      images: N images in the order of the rows: a uint8 array `[N, H, W, C]` or `[N, H, W]`, or a sequence of such
        arrays, PIL images, or paths of files; None for a row without.

    Raises:
      UserError: there are more or fewer images than rows, or they are no images.
    """
    if not isinstance(images, np.ndarray | Sequence) and hasattr(images, "__array__"):
        images = np.asarray(images)
    if isinstance(images, np.ndarray) and images.ndim == 1:  # a series of paths or images
        images = images.tolist()
    check(isinstance(images, np.ndarray | Sequence), f"images: {type(images).__name__} is no array or list of images.")
    if frame is None:
        frame = pl.DataFrame({COLUMN: [""] * len(images)})
    else:
        check(
            COLUMN not in frame.columns,
            f"The table has a column {COLUMN!r}, the name that images without a column get; rename it.",
        )
    count, rows = len(images), frame.height
    check(count == rows, f"images: there are {count} images and {rows} rows of the table; give one for every row.")
    given = [one for one in images if one is not None]
    if not isinstance(images, np.ndarray) and given and all(map(is_folder, given)):
        paths = [None if one is None else os.path.abspath(one) for one in images]
        root = Path(os.path.commonpath([os.path.dirname(path) for path in paths if path is not None]))
        names = [None if path is None else os.path.relpath(path, root) for path in paths]
        return frame.with_columns(pl.Series(COLUMN, names, dtype=pl.String)), root, (COLUMN,)
    images = ImageArrays(images)
    return frame.with_columns(pl.Series(COLUMN, images.names, dtype=pl.String)), images, (COLUMN,)


def folder_of(images: Any) -> Path | ImageArrays | None:
    """Return the folder of images, which may be missing."""
    return images if images is None or isinstance(images, ImageArrays) else path_of(images, "--images")


@dataclasses.dataclass(frozen=True)
class Located:
    """The names of every row's images, and the folder or memory that they are in."""

    names: list[tuple[str | None, ...]]
    root: Path | None = None
    memory: ImageArrays | None = None


def located(frame: pl.DataFrame, images: Any, columns: tuple[str, ...]) -> Located:
    """Return where the images of rows are.

    Args:
      frame: N rows.
      images: a folder, or an image per row (see `beside`).
      columns: of the frame, with the paths in the folder.

    Raises:
      UserError: there is neither a folder with a column, nor an image per row.
    """
    check(images is not None, "images: say in which folder the images are, or give an image per row.")
    where: Path | ImageArrays
    if is_folder(images):
        check(bool(columns), "image_column: name the column of the table with the paths of the images.")
        require_columns(frame.columns, columns, IN_MEMORY)
        where = path_of(images, "images")
        check(where.is_dir(), f"The image folder {where} does not exist.")
    else:
        frame, where, columns = beside(frame, images)
    names = list(zip(*(frame[name].cast(pl.String).to_list() for name in columns), strict=True))
    return Located(names, memory=where) if isinstance(where, ImageArrays) else Located(names, root=where)
