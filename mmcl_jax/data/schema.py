"""What a store holds: its entries, and the columns of those that are tables."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from mmcl_jax.data.table.scaling import Scaling
from mmcl_jax.errors import UserError

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
        """Return the column that `dataclasses.asdict` turned into a dict."""
        return cls(**{**raw, "categories": tuple(raw["categories"]), "tags": tuple(raw["tags"])})


def class_codes(labels: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray | None:
    """Return `Schema.codes` of these label columns; None if no column is a class."""
    place = next((place for place, column in enumerate(columns) if column.coded), None)
    return None if place is None else np.nan_to_num(np.asarray(labels[:, place]), nan=-1).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One named array of a store: an input, or a target.

    Attributes:
      kind: a name of `data.kinds.KINDS`.
      shape: of one stored row. A row with several pictures has the shape of one of them here, and their number in
        `pictures`.
      dtype: name of the stored type, such as "uint8".
      role: whether the entry is an input, or a target.
      optional: whether rows may lack it.
      columns: of a table.
      of: name of the image or volume that a mask or boxes belong to.
      pictures: the largest number of pictures in one row.
      fit: in words, how pictures were made to fit the shape.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    role: Literal["input", "target"] = "input"
    optional: bool = False
    columns: tuple[Column, ...] = ()
    of: str = ""
    pictures: int = 1
    fit: str = ""

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of all that one sample has: `shape`, behind the number of pictures where there are several."""
        return self.shape if self.pictures == 1 else (self.pictures, *self.shape)

    @classmethod
    def table(cls, columns: tuple[Column, ...], *, role: Literal["input", "target"] = "input") -> "Entry":
        """Return the entry of a table with these columns."""
        return cls(kind="table", shape=(len(columns),), dtype="float64", role=role, columns=columns)

    @classmethod
    def image(cls, spec: "ImageSpec") -> "Entry":
        """Return the entry of these images."""
        return cls(kind="image", shape=spec.shape, dtype=spec.dtype, pictures=spec.pictures, fit=spec.fit)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Entry":
        """Return the entry that `dataclasses.asdict` made a dict of."""
        columns = tuple(map(Column.from_json, raw["columns"]))
        return cls(**{**raw, "shape": tuple(map(int, raw["shape"])), "columns": columns})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The images of a store, `[height, width, channels]`, and in words how they were made to fit.

    With several pictures per row, one row's image is `[pictures, height, width, channels]`.
    """

    height: int
    width: int
    channels: int
    fit: str
    pictures: int = 1
    dtype: str = "uint8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of one picture."""
        return self.height, self.width, self.channels

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of one row's image."""
        return self.shape if self.pictures == 1 else (self.pictures, *self.shape)


@dataclasses.dataclass(frozen=True, init=False)
class Schema:
    """The entries of a store by name, in order.

    A store of one image folder and one table has the entries `image` and `table` and, with labels, `labels`. The
    properties below are about those: the first image, the first table that is an input, and the first that is a target.
    """

    entries: Mapping[str, Entry]

    def __init__(
        self,
        entries: Mapping[str, Entry] | None = None,
        *,
        columns: tuple[Column, ...] | None = None,
        image: ImageSpec | None = None,
        labels: tuple[Column, ...] | None = None,
    ) -> None:
        """Take entries, or those of one image and one table, which take the place of entries given beside them."""
        made = dict(entries or {})
        if image is not None:
            made[_first(made, "image") or "image"] = Entry.image(image)
        for given, default, role in ((columns, "table", "input"), (labels, "labels", "target")):
            name = _first(made, "table", role) or default
            if given:
                made[name] = Entry.table(given, role=cast(Literal["input", "target"], role))
            elif given is not None:  # a table without columns is no entry
                made.pop(name, None)
        object.__setattr__(self, "entries", made)

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def first(self, kind: str, role: str = "input") -> str | None:
        """Return the name of the first entry of this kind and role; None if there is none."""
        return _first(self.entries, kind, role)

    def with_columns(self, columns: tuple[Column, ...]) -> "Schema":
        """Return the schema in which the first table that is an input has these columns."""
        return Schema(self.entries, columns=columns)

    @property
    def image(self) -> ImageSpec:
        """The first image that is an input. Raises `UserError` if no entry is one."""
        name = self.first("image")
        if name is None:
            raise UserError(f"The store has no image; its entries are {', '.join(self.entries) or 'none'}.")
        entry = self.entries[name]
        height, width, channels = entry.shape
        return ImageSpec(
            height=height,
            width=width,
            channels=channels,
            fit=entry.fit,
            pictures=entry.pictures,
            dtype=entry.dtype,
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the first table that is an input, () if there is none."""
        name = self.first("table")
        return self.entries[name].columns if name else ()

    @property
    def labels(self) -> tuple[Column, ...]:
        """The columns of the first table that is a target, which are no features; () if there is none."""
        name = self.first("table", "target")
        return self.entries[name].columns if name else ()

    @property
    def widths(self) -> tuple[int, ...]:
        """One-hot width of every column, in order."""
        return tuple(column.width for column in self.columns)

    @property
    def label(self) -> Column | None:
        """The first label that is a class."""
        return next((label for label in self.labels if label.coded), None)

    def codes(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the codes `[N]` int64 of the first label that is a class, of labels `[N, L]`; -1 for NaN."""
        return class_codes(labels, self.labels)

    def to_json(self) -> str:
        """Return the schema as indented JSON."""
        entries = {name: dataclasses.asdict(entry) for name, entry in self.entries.items()}
        return json.dumps({"entries": entries}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Return the schema of which `to_json` made a text, in this version or in one of store format 2."""
        raw = json.loads(text)
        if "entries" in raw:
            return cls({name: Entry.from_json(entry) for name, entry in raw["entries"].items()})
        return cls(
            columns=tuple(map(Column.from_json, raw["columns"])),
            image=ImageSpec(**raw["image"]),
            labels=tuple(map(Column.from_json, raw["labels"])),
        )

    @classmethod
    def read(cls, path: Path) -> "Schema":
        """Read the file of a schema."""
        return cls.from_json(path.read_text())


def _first(entries: Mapping[str, Entry], kind: str, role: str = "input") -> str | None:
    return next((name for name, entry in entries.items() if (entry.kind, entry.role) == (kind, role)), None)
