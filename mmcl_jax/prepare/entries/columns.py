"""Further tables, and targets that are columns of a table."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from mmcl_jax.border import to_json
from mmcl_jax.data.schema import Column
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import COLUMNS
from mmcl_jax.prepare.table.numeric import parse_all
from mmcl_jax.prepare.table.parse import Parsed, parse
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.prepare.table.table import require_columns

_KINDS = {
    "class": "categorical",
    "ordinal": "ordinal",
    "number": "continuous",
    "multi-label": "boolean",
    "numbers": "continuous",
}
SINGLE = ("class", "ordinal", "number")  # targets that are one column of the store's labels


def parsed_columns(
    entry: Joined, rows: Rows, quarantine: Quarantine, like: Declaration | None = None, columns: Sequence[str] = ()
) -> list[Parsed]:
    """Return the columns of a table or target with the values of all rows; bad cells go to the quarantine.

    Args:
      entry: a table, or a target of `COLUMNS`.
      rows: all rows.
      quarantine: to which bad cells are added.
      like: the declaration by which an earlier store reads the cells; its categories are not checked here.
      columns: the names of the columns in that store.

    Raises:
      UserError: a column is missing, or its values are not of the target's kind.
    """
    assert isinstance(entry.content, Keyed)
    keyed, source = entry.content, entry.source
    if source.kind == "table":
        require_columns(keyed.frame.columns, list(source.schema.columns), keyed.file)
        for role in ("label", "group", "split", "image"):
            for name in source.schema.named(role):
                elsewhere = "name it among the targets" if role == "label" else "only the main table can have it"
                check(False, f"{entry.where}: schema: column {name!r} is declared to be the {role}; {elsewhere}.")
        declaration = source.schema.adding("identifier", (keyed.key,))
        declaration = declaration.adding("ignore", tuple(name for name in entry.used if name != keyed.key))
        parsed = parse_all([cells for cells in keyed.frame if cells.name != keyed.key], declaration)
    elif source.between:
        parsed = _split_labels(entry, keyed, columns)
    elif like is not None:
        names = (
            dict.fromkeys(source.column, entry.name)
            if source.kind in SINGLE
            else {name: name for name in source.column}
        )
        declaration = dataclasses.replace(like, columns={name: like.columns[key] for name, key in names.items()})
        parsed = [parse(keyed.frame[name], declaration) for name in source.column]
    else:
        declared = Declared(role="label", kind=_KINDS[source.kind], categories=source.categories)
        declaration = Declaration(columns=dict.fromkeys(source.column, declared))
        parsed = [parse(keyed.frame[name], declaration) for name in source.column]
        for column in parsed:
            _check_order(entry, column)
    if source.kind in SINGLE:
        parsed = [dataclasses.replace(parsed[0], name=entry.name)]
    row_of = {int(index): row for row, index in enumerate(entry.at) if index >= 0}
    for column in parsed:
        for index, reason in column.bad:
            if index in row_of:
                reason = f"{keyed.row(index)}: {reason}"
                rows.leave_out(row_of[index], quarantine, "unparsable cell", reason, entry=entry.name)
    at = pl.Series([None if row < 0 else int(row) for row in entry.at], dtype=pl.Int64)
    return [dataclasses.replace(column, values=column.values.gather(at), bad=[]) for column in parsed]


def features(parsed: Sequence[Parsed]) -> list[Parsed]:
    """Return the columns of a further table that are features."""
    return [column for column in parsed if column.role == "feature"]


def schema_columns(parsed: Sequence[Parsed], rows: np.ndarray, limits: Limits) -> tuple[Column, ...]:
    """Return the columns for the schema, with the categories that occur in `rows` unless they were declared.

    Raises:
      UserError: a column has too many categories.
    """
    columns = tuple(column.column(rows) for column in parsed)
    for column in columns:
        count = len(column.categories)
        otherwise = "or leave the column out with --ignore"
        limits.refuse("max_categories", count, f"Column {column.name!r} has {count:,} categories", otherwise)
    return columns


def is_column(entry: Joined) -> bool:
    """Return whether an entry is a target that is one column of the store's labels."""
    return entry.source.kind in SINGLE


def is_table(entry: Joined) -> bool:
    """Return whether an entry is stored as a table of its own: a further table, or a target of several columns."""
    return entry.source.kind == "table" or (entry.source.kind in COLUMNS and entry.source.kind not in SINGLE)


def _check_order(entry: Joined, column: Parsed) -> None:
    """Raise `UserError` for an ordinal target whose categories have no order."""
    if entry.source.kind != "ordinal" or entry.source.categories:
        return
    numbers = column.values.drop_nulls().cast(pl.Float64, strict=False)
    check(
        not numbers.null_count(),
        f"{entry.where}: the values of column {column.name!r} are no numbers, so that their order is unknown; "
        f"list them under categories, lowest first.",
    )


def _split_labels(entry: Joined, keyed: Keyed, columns: Sequence[str]) -> list[Parsed]:
    """Return a boolean column for every label in the cells of one column, such as `edema|effusion`.

    If `columns` lists the labels, a cell with any other label is bad.
    """
    name, between = entry.source.column[0], entry.source.between
    cells = parse(
        keyed.frame[name], Declaration(columns={name: Declared(role="label", kind="categorical", verbatim=True)})
    )
    sets = [None if text is None else {part.strip() for part in text.split(between)} - {""} for text in cells.values]
    labels = list(columns) or sorted(set().union(*(labels for labels in sets if labels is not None)))
    unknown = {row: min(cell - set(labels)) for row, cell in enumerate(sets) if cell and cell - set(labels)}
    bad = [
        (row, f"Column {name!r} holds the label {text!r}, which the store of --like does not have.")
        for row, text in unknown.items()
    ]
    check(bool(labels), f"{entry.where}: column {name!r} of {keyed.file} has no label.")
    return [
        dataclasses.replace(
            cells,
            name=label,
            kind="boolean",
            bad=[*cells.bad, *bad],
            values=pl.Series(
                [None if labels is None else to_json(label in labels) for labels in sets], dtype=pl.String
            ),
        )
        for label in labels
    ]
