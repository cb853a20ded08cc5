"""What a store holds: the columns of its table, its labels, and the shape of its images."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mmcl_jax.data.scaling import Scaling

Kind = Literal["continuous", "categorical", "ordinal", "boolean", "date"]
SPLITS = ("train", "val", "test")
KINDS: tuple[str, ...] = get_args(Kind)
LABEL_TAG = "label as a feature"  # of a column that was made of the label, and that raw tables do not have


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One table column.

    `categories` are the texts that a categorical, ordinal or boolean column takes, in code order (for an ordinal one,
    lowest first; for a boolean one, false first). A date is stored as days since 1970-01-01. `tags` name groups of
    columns, such as "morphometric". `scaling` says in what scale a number is standardised; see `scaling`.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    unit: str = ""
    tags: tuple[str, ...] = ()
    scaling: Scaling = "standard"

    @property
    def coded(self) -> bool:
        """Whether values are codes of `categories`."""
        return self.kind in ("categorical", "ordinal", "boolean")

    @property
    def width(self) -> int:
        """Values after one-hot coding: the number of categories of a categorical or boolean column, else 1."""
        return len(self.categories) if self.kind in ("categorical", "boolean") else 1

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Column":
        """The column that `dataclasses.asdict` made a dict of."""
        return cls(**{**raw, "categories": tuple(raw["categories"]), "tags": tuple(raw["tags"])})


def class_codes(labels: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray | None:
    """`Schema.codes` of these label columns; None if none of them is a class."""
    place = next((place for place, column in enumerate(columns) if column.coded), None)
    return None if place is None else np.nan_to_num(np.asarray(labels[:, place]), nan=-1).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images of a store, `[height, width, channels]` uint8, and in words how they were made to fit.

    With several pictures per row, one row's image is `[pictures, height, width, channels]`.
    """

    height: int
    width: int
    channels: int
    fit: str
    pictures: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of one picture."""
        return self.height, self.width, self.channels

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of one row's image."""
        return self.shape if self.pictures == 1 else (self.pictures, *self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """Columns in table order, the image shape, and the columns to be predicted, which are no features."""

    columns: tuple[Column, ...]
    image: ImageSpec
    labels: tuple[Column, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """One-hot width of every column, in order."""
        return tuple(column.width for column in self.columns)

    @property
    def label(self) -> Column | None:
        """The first label that is a class."""
        return next((label for label in self.labels if label.coded), None)

    def codes(self, labels: np.ndarray) -> np.ndarray | None:
        """`[N]` int64: of labels `[N, L]`, NaN for none, the codes of the first that is a class, -1 for none."""
        return class_codes(labels, self.labels)

    def to_json(self) -> str:
        """The schema as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The inverse of `to_json`."""
        raw = json.loads(text)
        return cls(
            columns=tuple(map(Column.from_json, raw["columns"])),
            image=ImageSpec(**raw["image"]),
            labels=tuple(map(Column.from_json, raw["labels"])),
        )

    @classmethod
    def read(cls, path: Path) -> "Schema":
        """Reads `schema.json`."""
        return cls.from_json(path.read_text())
