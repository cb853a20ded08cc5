"""What a named data set gives to `prepare`."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from mmcl_jax.data.table.declaration import Declaration

# Reads one image file: `[H, W, C]` of any real type, or raises `UserError` with the reason it cannot be used.
Reader = Callable[[Path], np.ndarray]


class Step(NamedTuple):
    """One step of a recipe: what it does, and the number of rows before and after."""

    what: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named data set, joined and cleaned as its paper says, ready for `prepare`.

    Attributes:
      name: of the data set.
      options: it was made with, as "key=value".
      rows: one row per image; typed columns, null for missing.
      images: folder that image paths are relative to.
      image_columns: columns with the image path; several are stacked.
      declaration: role and kind of every column.
      splits: identifiers of the rows in "train", "val" and "test", or None to have them drawn by fractions.
      subsets: identifiers of rows by name of a subset, such as "train_10".
      steps: what happened to the rows before.
      image_size: (height, width) to store where none is asked for; pictures that all have one smaller size keep it.
      read: reads an image file where the ordinary readers do not do; a function of a module, for worker processes.
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
