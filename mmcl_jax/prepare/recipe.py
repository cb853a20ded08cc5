"""A named data set in the form that `prepare` takes."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from mmcl_jax.data.table.declaration import Declaration

# Reads an image file as `[H, W, C]` of any real type, or raises `UserError` with the reason why it cannot be used.
Reader = Callable[[Path], np.ndarray]


class Step(NamedTuple):
    """A step of a recipe, in words, with the number of rows before and after it."""

    what: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named data set, joined and cleaned as its paper says, ready for `prepare`.

    Attributes:
      name: of the data set.
      options: of the recipe, as "key=value".
      rows: one row per image; typed columns, null for missing.
      images: folder that image paths are relative to.
      image_columns: columns with the image paths; the images of several columns are stacked.
      declaration: role and kind of every column.
      splits: identifiers of the rows in "train", "val" and "test", or None to draw splits by fractions.
      subsets: identifiers of rows by name of a subset, such as "train_10".
      steps: by which the rows were joined and cleaned.
      image_size: default (height, width) to store; images that all have one smaller size keep it.
      read: reader of image files that the ordinary readers cannot read; a module's function, for worker processes.
    """

    name: str
    rows: pl.DataFrame
    images: Path
    image_columns: tuple[str, ...]
    declaration: Declaration
    splits: Mapping[str, list[str]] | None = None
    subsets: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    image_size: tuple[int, int] | None = None
    read: Reader | None = None
    options: tuple[str, ...] = ()
