"""From a table file, or a named data set, to rows that are understood: roles, kinds, values, keys and image paths."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from mmcl_jax.data.schema import LABEL_TAG, Column, Schema
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.cells import is_text, nameless, one_of, text_of, usable, whole
from mmcl_jax.prepare.table.parse import KEYS, Parsed, coded, parse
from mmcl_jax.prepare.table.table import IN_MEMORY, Tables, require_columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a table that could be read, `N` of them.

    Attributes:
      source: the table's or data set's name, for messages.
      total: records in the file, with those that could not be read.
      numbers: `[N]`, place of each row in the file, from 1.
      columns: every column, understood, in the table's order.
      keys: `[N]`, what a row is called: its identifier, or else its image path.
      images: `[N]`, the image paths of each row; () for a row without.
      declaration: everything that was said about columns.
      own: records in the file; rows with larger numbers were added by `extended`.
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
        """Return the identifiers as rows have them: `12.0`, which no row has, may be the whole number `12`."""
        known = set(self.keys)
        shown = whole(pl.Series(identifiers, dtype=pl.String)).to_list()
        return [name if name in known else one for name, one in zip(identifiers, shown, strict=True)]

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
        """Put the row at an index, or an `entry` of it that rows may lack, into the quarantine."""
        shown = image or next(iter(self.images[row]), None)
        quarantine.add(int(self.numbers[row]), shown, cause, reason, chosen=chosen, entry=entry)

    def lacking(self, quarantine: Quarantine, entry: str) -> np.ndarray:
        """Return bool `[N]`, whether a row lacks an entry because it is bad."""
        return np.isin(self.numbers, quarantine.absent(entry))

    def called(self, row: int) -> str:
        """Return the words by which a sentence names the row at an index."""
        number = int(self.numbers[row])
        return f"row {number}" if number <= self.own else f"the key {self.keys[row]!r}"

    def refuse(self, quarantine: Quarantine, rate: float) -> None:
        """Raise `UserError` about the first bad row if more than `rate` of all rows are bad."""
        quarantine.refuse_above(rate, self.total, self.source, own=self.own)

    def extended(self, keys: Sequence[str]) -> "Rows":
        """Return these rows and, behind them, one for each key that none of them has, without values and images."""
        known = set(self.keys)
        new = [key for key in dict.fromkeys(keys) if key not in known]
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
            columns=[dataclasses.replace(one, values=series) for one, series in zip(self.columns, named, strict=True)],
            keys=[*self.keys, *new],
            images=[*self.images, *[()] * len(new)],
        )

    def without_features(self, lacking: np.ndarray) -> "Rows":
        """Return the rows with no value of a feature where bool `[N]` is true."""
        if not lacking.any():
            return self
        where = pl.Series(lacking)
        columns = [
            dataclasses.replace(one, values=one.values.set(where, None)) if one.role == "feature" else one
            for one in self.columns
        ]
        return dataclasses.replace(self, columns=columns)

    @classmethod
    def none(cls, source: str) -> "Rows":
        """Return no rows, to be extended by keys."""
        nothing: list = []
        return cls(
            source=source, total=0, numbers=np.zeros(0, int), columns=nothing, keys=[], images=[],
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
      request: names the table.
      recipe: or gives its rows.
      quarantine: to add to.
      tables: reads tables.
      alone: whether there are no other entries, so that every row needs an image.
      entry: name of the entry that the features are, if a row may be kept without them.

    Raises:
      UserError: naming the file or column that is wrong.
    """
    if recipe is None:
        if request.table is None:
            raise UserError("There is no table to read; name it with --table.")
        read = Tables() if tables is None else tables
        table = read.read(request.table, separator=request.separator, encoding=request.encoding)
        frame, numbers, said = table.frame, table.numbers, request.declaration()
        source = IN_MEMORY if isinstance(request.table, pl.DataFrame) else str(request.table)
        for number, reason in table.bad:
            quarantine.add(number, None, "unparsable row", reason)
    else:
        frame, source, said = recipe.rows, recipe.name, request.declaration(recipe.declaration)
        numbers = np.arange(1, frame.height + 1)
    require_columns(frame.columns, list(said.columns), source)
    columns = [parse(frame[name], said) for name in frame.columns]
    image_columns = list(recipe.image_columns) if recipe else said.named("image")
    needed = alone or request.images is not None
    check(bool(image_columns) or not needed, "No column is said to hold the image paths; name it with --image-column.")
    paths = list(zip(*(_texts(frame[name], "image path").to_list() for name in image_columns), strict=True))
    paths = paths or [()] * frame.height
    for column in columns:
        for row, reason in column.bad:
            of = "" if alone else column.name if column.role == "label" else entry
            quarantine.add(int(numbers[row]), next(iter(paths[row]), None), "unparsable cell", reason, entry=of)
    for row, names in enumerate(paths):
        if not all(names) and (alone or any(names)):
            empty = image_columns[[bool(name) for name in names].index(False)]
            quarantine.add(
                int(numbers[row]), None, "missing image", f"Its cell in the image column {empty!r} is empty.",
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
        declaration=said,
    )


def matrix(columns: list[Parsed], schema_columns: tuple[Column, ...], rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the values at `rows` as float64 `[rows, columns]`, NaN for missing; and unknown values by column."""
    values, unknown = np.empty((len(rows), len(columns))), []
    for place, (parsed, column) in enumerate(zip(columns, schema_columns, strict=True)):
        values[:, place], unseen = coded(
            parsed.values.gather(rows), column, None if parsed.verbatim else parsed.reading
        )
        unknown.append(unseen)
    return values, unknown


def resolved(rows: Rows) -> Declaration:
    """Return the declaration by which new rows of the main table are read."""
    return readings(rows.columns, rows.declaration)


def readings(parsed: Sequence[Parsed], said: Declaration) -> Declaration:
    """Return the declaration by which new rows of the same table are read: what was `said` and what was inferred.

    Categories, and the order of ordinal ones, are left to the schema, so that an unknown one is counted and no error.
    """
    words = ["", *said.missing]
    columns = {
        column.name: dataclasses.replace(
            column.declared,
            role=column.role,
            kind="categorical" if column.kind == "ordinal" else column.kind,
            categories=column.declared.categories if column.kind == "boolean" else (),
            tags=(),
            present=(
                *column.declared.present,
                *one_of(pl.Series(column.declared.categories, dtype=pl.String), words),
            ),
            verbatim=column.verbatim if column.coded or column.role in KEYS else None,
        )
        for column in parsed
    }
    return dataclasses.replace(said, columns=columns, others="ignore")


def template(rows: Rows) -> Declaration:
    """Return a declaration of every column as it was understood, for a person to edit."""
    columns = {
        column.name: dataclasses.replace(column.declared, role=column.role, kind=column.kind) for column in rows.columns
    }
    return dataclasses.replace(rows.declaration, columns=columns, others="infer")


def raw_rows(
    frame: pl.DataFrame, schema: Schema, declaration: Declaration, source: str
) -> tuple[np.ndarray, list[int]]:
    """Return new rows of a table as raw values `[N, F]` float64, by a store's or run's schema and resolved declaration.

    Returns:
      The values, NaN for missing, and for each column how many cells were categories the schema does not know.

    Raises:
      UserError: a column is absent, or a cell is not of the column's kind; it names the row and column.
    """
    columns = tuple(column for column in schema.columns if LABEL_TAG not in column.tags)
    names = [column.name for column in columns]
    require_columns(frame.columns, names, source)
    parsed = [parse(frame[name], declaration) for name in names]
    for column in parsed:
        for row, reason in column.bad:
            check(False, f"Row {row + 1} of {source}: {reason}")
    values, unknown = matrix(parsed, columns, np.arange(frame.height))
    lacking = len(schema.columns) - len(columns)  # a label that was a feature is missing in new rows
    return np.pad(values, ((0, 0), (0, lacking)), constant_values=np.nan), unknown + [0] * lacking


def _texts(cells: pl.Series, what: str) -> pl.Series:
    """Return the cells as texts, whole numbers without a fraction. Raises `UserError` for a type that is no text."""
    check(usable(cells.dtype), f"Column {cells.name!r} is of the type {cells.dtype}, which is no {what}.")
    cells = nameless(cells)
    return text_of(cells) if is_text(cells.dtype) else whole(text_of(cells))


def _keys(columns: list[Parsed], paths: list[tuple], numbers: np.ndarray, quarantine: Quarantine) -> list[str]:
    """Return the key of every row; rows without a key, or with the key of an earlier row, go to the quarantine."""
    named = [column for column in columns if column.role == "identifier"]
    first: dict[str, int] = {}
    if not named:  # the first image path, with the row where an earlier row has the same
        pairs = [
            (next(iter(names), None) or "row", number) for names, number in zip(paths, numbers.tolist(), strict=True)
        ]
        return [name if first.setdefault(name, number) == number else f"{name} {number}" for name, number in pairs]
    keys = _texts(named[0].values.alias(named[0].name), "identifier").to_list()
    for place, key in enumerate(keys):
        number, image = int(numbers[place]), next(iter(paths[place]), None)
        if not key:
            quarantine.add(number, image, "missing identifier", f"Its cell in column {named[0].name!r} is empty.")
        elif key in first:
            reason = f"Its identifier {key!r} in column {named[0].name!r} is that of row {first[key]}."
            quarantine.add(number, image, "duplicate identifier", reason)
        else:
            first[key] = number
    return [key or "" for key in keys]
