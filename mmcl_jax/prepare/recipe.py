"""A named data set in the form that `prepare` takes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source

# Reads an image file as `[H, W, C]` of any real type, or raises `UserError` with the reason why it cannot be used.
Reader = Callable[[Path], np.ndarray]


DRAWN = "drawn.json"  # in a folder that `mmcl generate` wrote
_ABOVE = 3  # folders


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
      folds: identifiers of the validation rows of each fold, if the data set has folds with one test split.
      subsets: identifiers of rows by name of a subset, such as "train_10".
      steps: by which the rows were joined and cleaned.
      image_size: default (height, width) to store; images that all have one smaller size keep it.
      read: reader of image files that the ordinary readers cannot read; a module's function, for worker processes.
      entries: further entries, which are joined to the rows as those of a request are.
      targets: further targets, likewise.
      tables: data frames that entries and targets name as their `file`; the path is how messages name them.
      fields: further fields of the request, unless the request sets them.
      required: names of entries that no row may lack, though the cohort is `outer`.
      restriction: who may use the data and what is trained on them, in a sentence that exports repeat; "" if anybody.
    """

    name: str
    rows: pl.DataFrame
    images: Path
    image_columns: tuple[str, ...]
    declaration: Declaration
    splits: Mapping[str, list[str]] | None = None
    folds: Sequence[Sequence[str]] = ()
    subsets: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    image_size: tuple[int, int] | None = None
    read: Reader | None = None
    entries: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    targets: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    tables: Mapping[Path, pl.DataFrame] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    restriction: str = ""

    def origin(self) -> dict[str, Any]:
        """Return what a store records of the data set; drawn data in its format are not restricted."""
        restriction = "" if is_drawn(self.images) else self.restriction
        return {
            "name": self.name,
            "options": list(self.options),
            **({"restriction": restriction} if restriction else {}),
        }


def is_drawn(folder: Path) -> bool:
    """Return whether `mmcl generate` drew the data in a folder, as the file `drawn.json` in it or above it says."""
    return any((one / DRAWN).is_file() for one in (folder, *folder.absolute().parents[:_ABOVE]))


def joined_with(request: Request, recipe: Recipe | None) -> Request:
    """Return the request with the entries, targets and further fields of the recipe; its own fields come first.

    Raises:
      UserError: both have an entry or target of one name.
    """
    if recipe is None:
        return request
    for key in ("entries", "targets"):
        for name in getattr(request, key):
            twice = f"--request: {key}: the data set {recipe.name} has {name!r} itself; rename yours."
            check(name not in {**recipe.entries, **recipe.targets}, twice)
    default = Request()
    fields: dict[str, Any] = {
        name: value for name, value in recipe.fields.items() if getattr(request, name) == getattr(default, name)
    }
    both: dict[str, Any] = {key: {**getattr(recipe, key), **getattr(request, key)} for key in ("entries", "targets")}
    if recipe.image_columns and any(both.values()):
        fields["images"] = recipe.images  # which masks belong to
    return dataclasses.replace(request, **fields, **both)
