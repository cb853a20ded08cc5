"""Further tables, and targets that are columns of a table."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from mmcl_jax.data.schema import Column
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import COLUMNS
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
    one: Joined, rows: Rows, quarantine: Quarantine, like: Declaration | None = None, columns: Sequence[str] = ()
) -> list[Parsed]:
    """Return the columns of a table or target with the values of all rows; bad cells go to the quarantine.

    Args:
      one: a table, or a target of `COLUMNS`.
      rows: all rows.
      quarantine: to add to.
      like: how the cells of an earlier store are read, whose categories are not checked here.
      columns: the names that the columns have there.

    Raises:
      UserError: a column is missing, or its values are not of the target's kind.
    """
    assert isinstance(one.content, Keyed)
    keyed, source = one.content, one.source
    if source.kind == "table":
        require_columns(keyed.frame.columns, list(source.schema.columns), keyed.file)
        for role in ("label", "group", "split", "image"):
            for name in source.schema.named(role):
                elsewhere = "name it among the targets" if role == "label" else "that is for the main table"
                check(False, f"{one.where}: schema: column {name!r} is said to be the {role}; {elsewhere}.")
        said = source.schema.adding("identifier", (keyed.key,))
        said = said.adding("ignore", tuple(name for name in one.used if name != keyed.key))
        parsed = [parse(keyed.frame[name], said) for name in keyed.frame.columns if name != keyed.key]
    elif source.between:
        parsed = _divided(one, keyed, columns)
    elif like is not None:
        of = dict.fromkeys(source.column, one.name) if source.kind in SINGLE else {name: name for name in source.column}
        said = dataclasses.replace(like, columns={name: like.columns[key] for name, key in of.items()})
        parsed = [parse(keyed.frame[name], said) for name in source.column]
    else:
        declared = Declared(role="label", kind=_KINDS[source.kind], categories=source.categories)
        said = Declaration(columns=dict.fromkeys(source.column, declared))
        parsed = [parse(keyed.frame[name], said) for name in source.column]
        for column in parsed:
            _check_order(one, column)
    if source.kind in SINGLE:
        parsed = [dataclasses.replace(parsed[0], name=one.name)]
    by_row = {int(there): row for row, there in enumerate(one.at) if there >= 0}
    for column in parsed:
        for there, reason in column.bad:
            if there in by_row:
                reason = f"{keyed.row(there)}: {reason}"
                rows.leave_out(by_row[there], quarantine, "unparsable cell", reason, entry=one.name)
    at = pl.Series([None if row < 0 else int(row) for row in one.at], dtype=pl.Int64)
    return [dataclasses.replace(column, values=column.values.gather(at), bad=[]) for column in parsed]


def features(parsed: Sequence[Parsed]) -> list[Parsed]:
    """Return the columns of a further table that are features."""
    return [column for column in parsed if column.role == "feature"]


def schema_columns(parsed: Sequence[Parsed], kept: np.ndarray) -> tuple[Column, ...]:
    """Return the columns as the schema has them."""
    return tuple(column.column(kept) for column in parsed)


def is_column(one: Joined) -> bool:
    """Return whether an entry is a target that is one column of the store's labels."""
    return one.source.kind in SINGLE


def is_table(one: Joined) -> bool:
    """Return whether an entry becomes a table of its own: a further table, or a target of several columns."""
    return one.source.kind == "table" or (one.source.kind in COLUMNS and one.source.kind not in SINGLE)


def _check_order(one: Joined, column: Parsed) -> None:
    """Raise `UserError` for an ordinal target whose categories have no order."""
    if one.source.kind != "ordinal" or one.source.categories:
        return
    numbers = column.values.drop_nulls().cast(pl.Float64, strict=False)
    check(
        not numbers.null_count(),
        f"{one.where}: the values of column {column.name!r} are no numbers, so their order is not known; "
        f"say categories, lowest first.",
    )


def _divided(one: Joined, keyed: Keyed, columns: Sequence[str]) -> list[Parsed]:
    """Return a boolean column for every label in the cells of one column, such as `edema|effusion`.

    Where the labels are given by `columns`, another one is a bad cell.
    """
    name, between = one.source.column[0], one.source.between
    cells = parse(
        keyed.frame[name], Declaration(columns={name: Declared(role="label", kind="categorical", verbatim=True)})
    )
    sets = [None if text is None else {part.strip() for part in text.split(between)} - {""} for text in cells.values]
    labels = list(columns) or sorted(set().union(*(labels for labels in sets if labels is not None)))
    unknown = {row: min(found - set(labels)) for row, found in enumerate(sets) if found and found - set(labels)}
    bad = [(row, f"Column {name!r} holds the label {text!r}, which is not known.") for row, text in unknown.items()]
    check(bool(labels), f"{one.where}: column {name!r} of {keyed.file} has no label.")
    return [
        dataclasses.replace(
            cells,
            name=label,
            kind="boolean",
            bad=[*cells.bad, *bad],
            values=pl.Series(
                [None if labels is None else json.dumps(label in labels) for labels in sets], dtype=pl.String
            ),
        )
        for label in labels
    ]
