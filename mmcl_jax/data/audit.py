"""What there is to say about a table and its images: columns, labels, splits, warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.card.wording import counted
from mmcl_jax.data.findings import ColumnFinding
from mmcl_jax.data.parse import Parsed
from mmcl_jax.data.schema import Column, Schema
from mmcl_jax.data.statistics import Statistics

BINS = 24
TOP = 12


def describe_columns(
    columns: Sequence[Parsed],
    schema: Schema,
    table: np.ndarray,
    statistics: Statistics,
    splits: Mapping[str, np.ndarray],
    left_out: Mapping[str, str],
) -> list[ColumnFinding]:
    """One finding per raw column.

    Args:
      columns: all of them, understood, with the values of the rows that are kept.
      schema: of the store.
      table: raw rows `[N, F]` of the schema's columns, all rows that are kept.
      statistics: of the training rows.
      splits: row numbers by split.
      left_out: reasons why columns that were understood are not used.
    """
    places = {column.name: place for place, column in enumerate(schema.columns)}
    later = {name: rows for name, rows in splits.items() if name != "train"}
    unseen, outside = statistics.unseen(table, schema), statistics.outside(table, schema)
    return [
        _describe(
            parsed,
            parsed.values,
            schema.columns[places[parsed.name]] if parsed.name in places else None,
            left_out.get(parsed.name, ""),
            {name: _count(unseen, rows, places.get(parsed.name)) for name, rows in later.items()},
            {name: _count(outside, rows, places.get(parsed.name)) for name, rows in later.items()},
        )
        for parsed in columns
    ]


def balance(labels: np.ndarray, columns: Sequence[Column], splits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Rows per class and split, of every label that is a class."""
    found: dict[str, Any] = {}
    for place, column in enumerate(columns):
        if column.coded:
            found[column.name] = {
                split: {text: int((labels[rows, place] == code).sum()) for code, text in enumerate(column.categories)}
                for split, rows in splits.items()
            }
    return found


def warn_of_groups(groups: pl.Series, splits: Mapping[str, np.ndarray], name: str) -> list[str]:
    """A sentence if members of one group are in two splits."""
    seen: dict[Any, str] = {}
    both = set()
    for split, rows in splits.items():
        for group in groups.gather(rows).drop_nulls().unique():
            if seen.setdefault(group, split) != split:
                both.add(group)
    if not both:
        return []
    first = sorted(map(str, both))[0]
    return [f"{len(both)} groups of {name!r} have rows in two splits, for example {first!r}: results will flatter."]


def warn_of_labels(balances: Mapping[str, Any]) -> list[str]:
    """Sentences on classes that a split lacks, and on labels with one class."""
    sentences = []
    for name, splits in balances.items():
        if len(next(iter(splits.values()))) < 2:
            sentences.append(f"The label {name!r} has one class; there is nothing to predict.")
        for split, counts in splits.items():
            absent = [text for text, count in counts.items() if count == 0]
            if absent:
                sentences.append(
                    f"The split {split} has no row of {counted(len(absent), 'class', 'classes')} of {name!r}, "
                    f"such as {absent[0]!r}."
                )
    return sentences


def _describe(
    parsed: Parsed,
    values: pl.Series,
    column: Column | None,
    left_out: str,
    unseen: dict[str, int],
    outside: dict[str, int],
) -> ColumnFinding:
    role = "ignore" if left_out else parsed.role
    found: dict[str, Any] = {"missing": values.null_count(), "distinct": values.drop_nulls().n_unique()}
    if parsed.kind in ("continuous", "date") and len(values.drop_nulls()):
        numbers = values.drop_nulls().to_numpy().astype(np.float64)
        with np.errstate(over="ignore"):
            statistics = {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean(), "sd": numbers.std()}
        found["numbers"] = {name: float(value) for name, value in statistics.items()} | {
            "median": float(np.median(numbers))
        }
        found["histogram"] = _histogram(numbers, min(BINS, max(1, found["distinct"])))
    elif parsed.kind:
        counted = values.drop_nulls().alias("text").value_counts(name="rows")
        found["top"] = list(counted.sort("rows", "text", descending=[True, False]).head(TOP).iter_rows())
    if column is not None:
        found["unseen"] = {split: count for split, count in unseen.items() if count}
        found["outside"] = {split: count for split, count in outside.items() if count}
    why = left_out or parsed.why
    return ColumnFinding(
        name=parsed.name, role=role, kind=parsed.kind, why=why, missing_words=parsed.missing_words, **found
    )


def _histogram(numbers: np.ndarray, bins: int) -> dict[str, list[float]]:
    try:
        with np.errstate(over="raise", invalid="raise"):
            counts, edges = np.histogram(numbers, bins=bins)
    except (ValueError, FloatingPointError):  # too close together, or too far apart
        counts, edges = np.array([len(numbers)]), np.array([numbers.min(), numbers.max()])
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _count(where: np.ndarray, rows: np.ndarray, place: int | None) -> int:
    return 0 if place is None else int(where[rows, place].sum())
