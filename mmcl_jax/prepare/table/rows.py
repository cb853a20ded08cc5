"""Parsing a table file, or the table of a named data set, into rows with values, keys and image paths."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from mmcl_jax.data.schema import LABEL_TAG, Column, Schema
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.cells import canonical_integers, is_text, match_words, nameless, text_of, usable
from mmcl_jax.prepare.table.numeric import parse_all
from mmcl_jax.prepare.table.parse import KEYS, Parsed, coded
from mmcl_jax.prepare.table.table import IN_MEMORY, Tables, require_columns
from mmcl_jax.text import brief


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """The `N` rows of a table that could be read.

    Attributes:
      source: the table's or data set's name, for messages.
      total: number of records, including unreadable ones and the rows that `extended` added.
      numbers: `[N]`, number of each row in the file, from 1.
      columns: every parsed column, in the table's order.
      keys: `[N]`, key of each row: its identifier, or else its image path.
      images: `[N]`, the image paths of each row; () for a row without an image.
      declaration: the declarations of the columns.
      own: number of records in the file; rows with larger numbers were added by `extended`.
    """

    source: str
    total: int
    numbers: np.ndarray
    columns: list[Parsed]
    keys: list[str]
    images: list[tuple[str, ...]]
    declaration: Declaration
    own: int = 0

    def named(self, role: str) -> list[Parsed]:
        """Return the columns that have a role."""
        return [column for column in self.columns if column.role == role]

    def keys_of(self, identifiers: Sequence[str]) -> list[str]:
        """Return the keys that identifiers stand for: if no row has the key `12.0`, that is the integer `12`."""
        keys = set(self.keys)
        integers = canonical_integers(pl.Series(identifiers, dtype=pl.String)).to_list()
        return [name if name in keys else integer for name, integer in zip(identifiers, integers, strict=True)]

    def left(self, quarantine: Quarantine) -> np.ndarray:
        """Return the indices of the rows that are not in the quarantine."""
        return np.array([row for row, number in enumerate(self.numbers) if number not in quarantine], int)

    def leave_out(
        self,
        row: int,
        quarantine: Quarantine,
        cause: str,
        reason: str,
        *,
        chosen: bool = False,
        image: str | None = None,
        entry: str = "",
    ) -> None:
        """Put the row at an index into the quarantine, or only its `entry`, if rows may lack that entry."""
        shown = image or next(iter(self.images[row]), None)
        quarantine.add(int(self.numbers[row]), shown, cause, reason, chosen=chosen, entry=entry)

    def lacking(self, quarantine: Quarantine, entry: str) -> np.ndarray:
        """Return bool `[N]`, whether a row lacks an entry because the entry is bad."""
        return np.isin(self.numbers, quarantine.absent(entry))

    def called(self, row: int) -> str:
        """Return the row at an index as a sentence names it: "row 3", or "the key 'a'" if it is not in the table."""
        number = int(self.numbers[row])
        return f"row {number}" if number <= self.own else f"the key {brief(self.keys[row])}"

    def refuse(self, quarantine: Quarantine, rate: float) -> None:
        """Raise `UserError` about the first bad row if more than `rate` of all rows are bad."""
        quarantine.refuse_above(rate, self.total, self.source, own=self.own)

    def extended(self, keys: Sequence[str]) -> "Rows":
        """Return these rows, followed by a row without values and images for each key that they do not have."""
        present = set(self.keys)
        new = [key for key in dict.fromkeys(keys) if key not in present]
        values = [column.values.extend_constant(None, len(new)) for column in self.columns]
        named = [
            series.clear().append(column.values).append(pl.Series(new, dtype=pl.String))
            if column.role == "identifier"
            else series
            for column, series in zip(self.columns, values, strict=True)
        ]
        return dataclasses.replace(
            self,
            total=self.total + len(new),
            numbers=np.concatenate([self.numbers, self.total + 1 + np.arange(len(new))]),
            columns=[dataclasses.replace(old, values=series) for old, series in zip(self.columns, named, strict=True)],
            keys=[*self.keys, *new],
            images=[*self.images, *[()] * len(new)],
        )

    def without_features(self, lacking: np.ndarray) -> "Rows":
        """Return the rows with missing features where bool `[N]` is true."""
        if not lacking.any():
            return self
        where = pl.Series(lacking)
        columns = [
            dataclasses.replace(column, values=column.values.set(where, None)) if column.role == "feature" else column
            for column in self.columns
        ]
        return dataclasses.replace(self, columns=columns)

    @classmethod
    def none(cls, source: str) -> "Rows":
        """Return an empty table of no columns, to be extended by keys."""
        return cls(
            source=source, total=0, numbers=np.zeros(0, int), columns=[], keys=[], images=[],
            declaration=Declaration(),
        )  # fmt: skip


def understand(
    request: Request,
    recipe: Recipe | None,
    quarantine: Quarantine,
    *,
    tables: Tables | None = None,
    alone: bool = True,
    entry: str = "",
) -> Rows:
    """Read and parse the table; rows that cannot be used go to the quarantine.

    Args:
      request: names the table, unless there is a recipe.
      recipe: holds the rows of a named data set, or None.
      quarantine: to which bad rows are added.
      tables: reads each file once; by default a new reader.
      alone: whether the request has no other entries, so that every row needs an image.
      entry: name of the entry that the features form, if a row may lack it.

    Raises:
      UserError: a file or column is wrong; the message names it.
    """
    if recipe is None:
        if request.table is None:
            raise UserError("There is no table to read; name it with --table.")
        reader = Tables(request.limits) if tables is None else tables
        table = reader.read(request.table, separator=request.separator, encoding=request.encoding)
        frame, numbers, declaration = table.frame, table.numbers, request.declaration()
        source = IN_MEMORY if isinstance(request.table, pl.DataFrame) else str(request.table)
        for number, reason in table.bad:
            quarantine.add(number, None, "unparsable row", reason)
    else:
        frame, source, declaration = recipe.rows, recipe.name, request.declaration(recipe.declaration)
        numbers = np.arange(1, frame.height + 1)
    require_columns(frame.columns, list(declaration.columns), source)
    columns = parse_all(frame.get_columns(), declaration)
    image_columns = list(recipe.image_columns) if recipe else declaration.named("image")
    needed = alone or request.images is not None
    check(bool(image_columns) or not needed, "No column is declared to hold image paths; name it with --image-column.")
    paths = list(zip(*(_texts(frame[name], "image path").to_list() for name in image_columns), strict=True))
    paths = paths or [()] * frame.height
    if request.stack == "varying":
        paths = [tuple(filter(None, names)) for names in paths]
    for column in columns:
        for row, reason in column.bad:
            part = "" if alone else column.name if column.role == "label" else entry
            quarantine.add(int(numbers[row]), next(iter(paths[row]), None), "unparsable cell", reason, entry=part)
    for row, names in enumerate(paths):
        if not (names and all(names)) and ((image_columns and alone) or any(names)):
            empty = image_columns[[*map(bool, names), False].index(False)]
            quarantine.add(
                int(numbers[row]), None, "missing image", f"The cell in the image column {empty!r} is empty.",
                entry="" if alone else "image",
            )  # fmt: skip
    keys = _keys(columns, paths, numbers, quarantine)
    total = int(len(numbers) + (0 if recipe else len(table.bad)))
    return Rows(
        source=source,
        total=total,
        own=total,
        numbers=numbers,
        columns=columns,
        keys=keys,
        images=[tuple(name or "" for name in names) if any(names) or alone else () for names in paths],
        declaration=declaration,
    )


def matrix(
    columns: list[Parsed], schema_columns: tuple[Column, ...], rows: np.ndarray, *, unknown: float = math.nan
) -> tuple[np.ndarray, list[int]]:
    """Return the values at `rows` as float64 `[rows, columns]`, NaN for missing; and by column how many are unseen.

    The value of an unseen category is `unknown`.
    """
    values, counts = np.empty((len(rows), len(columns))), [0] * len(columns)
    numbers: list[int] = []
    for index, (parsed, column) in enumerate(zip(columns, schema_columns, strict=True)):
        if not column.coded and parsed.values.dtype == pl.Float64:
            numbers.append(index)
            continue
        values[:, index], counts[index] = coded(
            parsed.values.gather(rows), column, None if parsed.verbatim else parsed.reading, unknown=unknown
        )
    if numbers:  # all at once, since a call of polars for each of many columns takes long
        frame = pl.DataFrame([columns[index].values.alias(str(index)) for index in numbers])
        values[:, numbers] = frame[rows].fill_null(math.nan).to_numpy()
    return values, counts


def resolved(rows: Rows) -> Declaration:
    """Return the declaration by which new rows of the main table are read."""
    return readings(rows.columns, rows.declaration)


def readings(parsed: Sequence[Parsed], declaration: Declaration) -> Declaration:
    """Return the declaration by which new rows of the same table are read: `declaration` and what was inferred.

    Categories and their order are left to the schema, so that an unseen category is counted and is not an error.
    """
    words = ["", *declaration.missing]
    columns = {
        column.name: dataclasses.replace(
            column.declared,
            role=column.role,
            kind="categorical" if column.kind == "ordinal" else column.kind,
            categories=column.declared.categories if column.kind == "boolean" else (),
            tags=(),
            present=(*column.declared.present, *_words_among(column.declared.categories, words)),
            verbatim=column.verbatim if column.coded or column.role in KEYS else None,
        )
        for column in parsed
    }
    return dataclasses.replace(declaration, columns=columns, others="ignore")


def _words_among(categories: Sequence[str], words: Sequence[str]) -> Iterable[str]:
    return match_words(pl.Series(categories, dtype=pl.String), words) if categories else ()


def template(rows: Rows) -> Declaration:
    """Return a declaration of the role and kind of every column, for a person to edit."""
    columns = {
        column.name: dataclasses.replace(column.declared, role=column.role, kind=column.kind) for column in rows.columns
    }
    return dataclasses.replace(rows.declaration, columns=columns, others="infer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawRows:
    """New rows of a table by a schema.

    Attributes:
      values: `[N, F]` float64, NaN for missing, -1 for categories that the schema does not have.
      unknown: by column, how many cells are such categories.
      bad: (row, reason) of every cell that is not of its column's kind, which is NaN.
    """

    values: np.ndarray
    unknown: list[int]
    bad: list[tuple[int, str]]


def read_rows(frame: pl.DataFrame, schema: Schema, declaration: Declaration, source: str) -> RawRows:
    """Return new rows of a table as raw values, by a store's or run's schema and resolved declaration.

    A row's values do not depend on the other rows.

    Raises:
      UserError: a column is absent.
    """
    columns = tuple(column for column in schema.columns if LABEL_TAG not in column.tags)
    names = [column.name for column in columns]
    require_columns(frame.columns, names, source)
    numbers = {column.name for column in columns if not column.coded}
    # "NaN" means "no value" in a column of numbers, even if another cell of these rows is no number.
    declaration = dataclasses.replace(
        declaration,
        columns={
            name: dataclasses.replace(declared, missing=(*declared.missing, *_NAN)) if name in numbers else declared
            for name, declared in declaration.columns.items()
        },
    )
    cells = dict(zip(frame.columns, frame.get_columns(), strict=True))
    parsed = parse_all([cells[name] for name in names], declaration)
    values, unknown = matrix(parsed, columns, np.arange(frame.height), unknown=-1.0)
    lacking = len(schema.columns) - len(columns)  # a label that was a feature is missing in new rows
    return RawRows(
        values=np.pad(values, ((0, 0), (0, lacking)), constant_values=np.nan),
        unknown=unknown + [0] * lacking,
        bad=[bad for column in parsed for bad in column.bad],
    )


def raw_rows(
    frame: pl.DataFrame, schema: Schema, declaration: Declaration, source: str
) -> tuple[np.ndarray, list[int]]:
    """Return the values and the unknown categories of `read_rows`.

    Raises:
      UserError: a column is absent, or a cell is not of the column's kind; the message names the row and column.
    """
    rows = read_rows(frame, schema, declaration, source)
    for row, reason in rows.bad:
        check(False, f"Row {row + 1} of {source}: {reason}")
    return rows.values, rows.unknown


def keys_of(cells: pl.Series) -> pl.Series:
    """Return the cells of a column of keys as texts, integers without a fraction.

    Raises:
      UserError: the column is of a type such as a list.
    """
    return _texts(cells, "identifier")


_NAN = ("NaN", "nan")


def _texts(cells: pl.Series, what: str) -> pl.Series:
    """Return the cells as texts, integers without a fraction. Raises `UserError` for a type such as a list."""
    check(usable(cells.dtype), f"Column {cells.name!r} is of the type {cells.dtype}, which cannot hold an {what}.")
    cells = nameless(cells)
    return text_of(cells) if is_text(cells.dtype) else canonical_integers(text_of(cells))


def _keys(columns: list[Parsed], paths: list[tuple], numbers: np.ndarray, quarantine: Quarantine) -> list[str]:
    """Return the key of every row; rows without a key, or with the key of an earlier row, go to the quarantine."""
    named = [column for column in columns if column.role == "identifier"]
    first: dict[str, int] = {}
    if not named:  # the key is the first image path, followed by the row number where an earlier row has the same path
        pairs = [
            (next(iter(names), None) or "row", number) for names, number in zip(paths, numbers.tolist(), strict=True)
        ]
        return [name if first.setdefault(name, number) == number else f"{name} {number}" for name, number in pairs]
    keys = _texts(named[0].values.alias(named[0].name), "identifier").to_list()
    for index, key in enumerate(keys):
        number, image = int(numbers[index]), next(iter(paths[index]), None)
        if not key:
            quarantine.add(number, image, "missing identifier", f"The cell in column {named[0].name!r} is empty.")
        elif key in first:
            reason = f"The identifier {key!r} in column {named[0].name!r} is also that of row {first[key]}."
            quarantine.add(number, image, "duplicate identifier", reason)
        else:
            first[key] = number
    return [key or "" for key in keys]
