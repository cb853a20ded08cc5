"""The schema of a store: its entries, and the columns of its tables."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast, get_args

import numpy as np

from mmcl_jax.border import AtLeast, parse, read_json, to_json, typed
from mmcl_jax.data.table.scaling import Scaling
from mmcl_jax.errors import UserError, check

Kind = Literal["continuous", "categorical", "ordinal", "boolean", "date"]
SPLITS = ("train", "val", "test")
BACK = "put a copy of the file back"
KINDS: tuple[str, ...] = get_args(Kind)
LABEL_TAG = "label as a feature"  # tag of a column that was copied from the label, and that raw tables do not have


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One table column.

    `categories` are the values of a categorical, ordinal or boolean column, as texts in code order (lowest first if
    ordinal, false first if boolean). A date is stored as days since 1970-01-01. `tags` name groups of columns, such as
    "morphometric". `scaling` is the scale in which a number is standardised; see `table.scaling`.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    unit: str = ""
    tags: tuple[str, ...] = ()
    scaling: Scaling = "standard"

    @property
    def coded(self) -> bool:
        """Whether the values are codes of `categories`."""
        return self.kind in ("categorical", "ordinal", "boolean")

    @property
    def width(self) -> int:
        """The number of values after one-hot coding: that of categories if categorical or boolean, else 1."""
        return len(self.categories) if self.kind in ("categorical", "boolean") else 1


def class_codes(labels: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray | None:
    """Return `Schema.codes` of labels `[N, L]` with these columns; None if no column is a class."""
    index = next((index for index, column in enumerate(columns) if column.coded), None)
    return None if index is None else np.nan_to_num(np.asarray(labels[:, index]), nan=-1).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One named array of a store: an input, or a target.

    Attributes:
      kind: a name of `data.kinds.KINDS`.
      shape: shape of one stored row; where rows have several images, the shape of one image.
      dtype: name of the stored type, such as "uint8".
      role: whether the entry is an input or a target.
      optional: whether rows may lack the entry.
      columns: columns of a table.
      of: name of the image or volume that a mask or boxes belong to.
      pictures: the largest number of images in one row.
      fit: in words, how images were fitted to the shape.
      affine: of volumes with a common grid, the 16 numbers of the RAS+ affine, row by row; else (). See `affine_of`.
      show_text: whether pages may show the words of a text; who made the store asked for it.
    """

    kind: str
    shape: tuple[Annotated[int, AtLeast(0)], ...]
    dtype: str
    role: Literal["input", "target"] = "input"
    optional: bool = False
    columns: tuple[Column, ...] = ()
    of: str = ""
    pictures: Annotated[int, AtLeast(1)] = 1
    fit: str = ""
    affine: tuple[float, ...] = ()
    show_text: bool = False

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of one whole row: `shape`, or `(pictures, *shape)` where rows have several images."""
        return self.shape if self.pictures == 1 else (self.pictures, *self.shape)

    @classmethod
    def table(cls, columns: tuple[Column, ...], *, role: Literal["input", "target"] = "input") -> "Entry":
        """Return the entry of a table with these columns."""
        return cls(kind="table", shape=(len(columns),), dtype="float64", role=role, columns=columns)

    @classmethod
    def image(cls, spec: "ImageSpec") -> "Entry":
        """Return the entry of images with this specification."""
        return cls(kind="image", shape=spec.shape, dtype=spec.dtype, pictures=spec.pictures, fit=spec.fit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The specification of a store's images, `[height, width, channels]`, and in words how they were fitted to it.

    With several images per row, one row is `[pictures, height, width, channels]`.
    """

    height: Annotated[int, AtLeast(1)]
    width: Annotated[int, AtLeast(1)]
    channels: Annotated[int, AtLeast(1)]
    fit: str
    pictures: Annotated[int, AtLeast(1)] = 1
    dtype: str = "uint8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of one image."""
        return self.height, self.width, self.channels

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of one row, with all of its images."""
        return self.shape if self.pictures == 1 else (self.pictures, *self.shape)


@dataclasses.dataclass(frozen=True, init=False)
class Schema:
    """The entries of a store by name, in order.

    A store of one image folder and one table has the entries `image` and `table` and, with labels, `labels`. The
    properties below describe these: the first image, the first input table, and the first target table.
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
        """Store the entries; `columns`, `image` and `labels` replace or add the first entry of their kind."""
        all_entries = dict(entries or {})
        if image is not None:
            all_entries[_first(all_entries, "image") or "image"] = Entry.image(image)
        for table_columns, default, role in ((columns, "table", "input"), (labels, "labels", "target")):
            name = _first(all_entries, "table", role) or default
            if table_columns:
                all_entries[name] = Entry.table(table_columns, role=cast(Literal["input", "target"], role))
            elif table_columns is not None:  # a table without columns is no entry
                all_entries.pop(name, None)
        object.__setattr__(self, "entries", all_entries)

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))

    def first(self, kind: str, role: str = "input") -> str | None:
        """Return the name of the first entry of this kind and role, or None."""
        return _first(self.entries, kind, role)

    def with_columns(self, columns: tuple[Column, ...]) -> "Schema":
        """Return the schema whose first input table has these columns."""
        return Schema(self.entries, columns=columns)

    @property
    def image(self) -> ImageSpec:
        """The first image that is an input. Raises `UserError` if the store has none."""
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
        """The columns of the first input table, () without one."""
        name = self.first("table")
        return self.entries[name].columns if name else ()

    @property
    def labels(self) -> tuple[Column, ...]:
        """The columns of the first target table, () without one."""
        name = self.first("table", "target")
        return self.entries[name].columns if name else ()

    @property
    def widths(self) -> tuple[int, ...]:
        """The one-hot width of every column, in order."""
        return tuple(column.width for column in self.columns)

    @property
    def label(self) -> Column | None:
        """The first label that is a class, or None."""
        return next((label for label in self.labels if label.coded), None)

    def codes(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the codes `[N]` int64 of the first class label in labels `[N, L]`, -1 for NaN; None without one."""
        return class_codes(labels, self.labels)

    def to_json(self) -> str:
        """Return the schema as indented JSON."""
        entries = {name: dataclasses.asdict(entry) for name, entry in self.entries.items()}
        for entry in entries.values():
            if not entry["affine"]:  # only volumes have one
                del entry["affine"]
            if not entry["show_text"]:  # only texts can have it
                del entry["show_text"]
        return to_json({"entries": entries}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Return the schema of a text that `to_json` made, in this version or for store format 2.

        Raises:
          UserError: the schema is damaged; the sentence names the entry and column.
          ValueError: the text is no JSON.
        """
        return _read(parse(text), "schema.json")

    @classmethod
    def read(cls, path: Path) -> "Schema":
        """Read a schema from its JSON file. Raises `UserError` that names the file and the field."""
        return _read(read_json(path, dict[str, Any], BACK), str(path))


class _File(TypedDict):
    entries: dict[str, Entry]


class _File2(TypedDict):
    """The file of store format 2."""

    columns: tuple[Column, ...]
    image: ImageSpec
    labels: tuple[Column, ...]


def _read(raw: Any, where: str) -> Schema:
    if "entries" in raw:
        schema = Schema(typed(_File, raw, where, BACK)["entries"])
    else:
        old: _File2 = typed(_File2, raw, where, BACK)
        schema = Schema(columns=old["columns"], image=old["image"], labels=old["labels"])
    for name, entry in schema.entries.items():
        subject = f"{where}: entries.{name}"
        columns = entry.columns
        # A mask or boxes have one column, their classes.
        fits = entry.shape == (len(columns),) if entry.kind == "table" else len(columns) <= 1
        check(fits, f"{subject}: the shape {entry.shape} does not fit {len(columns)} columns; {BACK}.")
        placed = len(entry.affine) in (0, 16) and not (entry.affine and entry.kind != "volume")
        check(placed, f"{subject}: the affine of a volume has 16 numbers, and another kind has none; {BACK}.")
        check(not entry.show_text or entry.kind == "text", f"{subject}: show_text is of texts alone; {BACK}.")
        twice = len({column.name for column in columns}) < len(columns)
        check(not twice, f"{subject}: two columns have one name; {BACK}.")
        for column in columns:
            unique = len(set(column.categories)) == len(column.categories)
            check(unique, f"{subject}: the column {column.name!r} has a category twice; {BACK}.")
            has_none = column.coded or not column.categories
            check(has_none, f"{subject}: the column {column.name!r} of the kind {column.kind} has categories; {BACK}.")
    return schema


def _first(entries: Mapping[str, Entry], kind: str, role: str = "input") -> str | None:
    return next((name for name, entry in entries.items() if (entry.kind, entry.role) == (kind, role)), None)
