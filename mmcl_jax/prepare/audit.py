"""What there is to say about a table and its images: columns, labels, splits, warnings."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.data.schema import Column, Schema
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.page.wording import count, counted, share
from mmcl_jax.prepare.card.findings import ColumnFinding
from mmcl_jax.prepare.table.parse import Parsed

BINS = 24
TOP = 12
SKEWED = 0.1
_NAMED = 5  # classes that a sentence names
_UNEVEN = 0.1  # by what share of it a size may differ from what was asked for
_DEVIATIONS = 4.0


def describe_columns(
    columns: Sequence[Parsed],
    schema: Schema,
    table: np.ndarray,
    statistics: Statistics,
    splits: Mapping[str, np.ndarray],
    left_out: Mapping[str, str],
) -> list[ColumnFinding]:
    """Return a finding per raw column.

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
    """Count the rows per class and split, of every label that is a class."""
    found: dict[str, Any] = {}
    for place, column in enumerate(columns):
        if column.coded:
            found[column.name] = {
                split: {text: int((labels[rows, place] == code).sum()) for code, text in enumerate(column.categories)}
                for split, rows in splits.items()
            }
    return found


def warn_of_groups(groups: pl.Series, splits: Mapping[str, np.ndarray], name: str) -> list[str]:
    """Return a sentence if members of one group are in two splits."""
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


def warn_of_labels(balances: Mapping[str, Any], remedy: str, *, declarable: bool) -> list[str]:
    """Return sentences on classes that a split lacks, and on labels with one class.

    Args:
      balances: see `balance`.
      remedy: what gives every class a row in every split.
      declarable: whether `--schema` can take a class out of a label.
    """
    sentences = []
    for name, splits in balances.items():
        classes = list(next(iter(splits.values())))
        if len(classes) < 2:
            sentences.append(f"The label {name!r} has one class; there is nothing to predict.")
        nowhere = [text for text in classes if not any(counts[text] for counts in splits.values())]
        if nowhere:
            sentences.append(f"No row has {_quoted(nowhere)} of the label {name!r}.")
        for split, counts in splits.items():
            absent = [text for text, rows in counts.items() if rows == 0 and text not in nowhere]
            if absent:
                said = remedy
                if declarable and len(classes) - len(nowhere) > 2:
                    declared = json.dumps({"columns": {name: {"missing": absent[:_NAMED]}}}, ensure_ascii=False)
                    said += (
                        f", or take {'it' if len(absent) == 1 else 'them'} out of the label by {declared} in --schema"
                    )
                sentences.append(f"The split {split} has no row of {_quoted(absent)} of {name!r}: {said}.")
    return sentences


def warn_of_sizes(splits: Mapping[str, np.ndarray], fractions: Sequence[float], why: str) -> list[str]:
    """Return a sentence if val or test is over a tenth larger or smaller than its share of the rows, with `why`."""
    total = sum(map(len, splits.values()))
    off = [
        f"{name} has {count(len(members))} of {counted(total, 'row')} "
        f"({share(len(members), total)} for {100 * asked:g} %)"
        for (name, members), asked in zip(splits.items(), fractions, strict=True)
        if name != "train" and abs(len(members) - asked * total) > max(1, _UNEVEN * asked * total)
    ]
    return [f"The splits have other sizes than asked for, since {why}: {', '.join(off)}."] if off else []


def warn_of_shares(balances: Mapping[str, Any]) -> list[str]:
    """Return sentences on labels of which a class is rarer or more frequent in val or test than by chance.

    That is by more than four standard deviations of a random draw of so many rows, and by a tenth.
    """
    sentences = []
    for name, splits in balances.items():
        rows = np.array([list(counts.values()) for counts in splits.values()], float)
        every = rows.sum(axis=0) / max(rows.sum(), 1)
        expected = rows.sum(axis=1, keepdims=True) * every
        deviation = np.abs(rows - expected) / np.sqrt(np.maximum(expected * (1 - every), 1))
        far = (deviation > _DEVIATIONS) & (np.abs(rows - expected) > _UNEVEN * expected)
        far[list(splits).index("train")] = False
        if far.any():
            split, place = np.unravel_index(np.where(far, deviation, 0).argmax(), far.shape)
            text, size = list(next(iter(splits.values())))[place], rows[split].sum()
            others = int(far.any(axis=0).sum()) - 1
            more = f", and {counted(others, 'more class differs', 'more classes differ')}" if others else ""
            sentences.append(
                f"Classes of {name!r} have other shares in val or test: {text!r} is {share(rows[split, place], size)} "
                f"of {list(splits)[split]} and {share(rows[:, place].sum(), rows.sum())} of all rows{more}."
            )
    return sentences


def _quoted(texts: Sequence[str]) -> str:
    """Quote classes for a sentence: the class 'a'; the 2 classes 'a', 'b'; 30 classes, such as 'a'."""
    if len(texts) == 1:
        return f"the class {texts[0]!r}"
    if len(texts) <= _NAMED:
        return f"the {len(texts)} classes {', '.join(map(repr, texts))}"
    return f"{len(texts)} classes, such as {texts[0]!r},"


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
        found["middle"] = middle_share(numbers)
        found["scaling"] = column.scaling if column is not None else "standard"
        narrow = found["middle"] < SKEWED or found["scaling"] != "standard"
        edges, found["axis"] = _readable_edges(numbers) if narrow else (None, "linear")
        found["histogram"] = _histogram(numbers, min(BINS, max(1, found["distinct"])) if edges is None else edges)
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


def middle_share(numbers: np.ndarray) -> float:
    """Return the share of the range of numbers `[N]` that their middle nine tenths span; 1 for fewer than eleven.

    0.5 for many normal numbers, 0.9 for uniform ones; less than `SKEWED` is a heavily skewed column.
    """
    if len(np.unique(numbers)) <= 10:
        return 1.0
    low, high = np.quantile(numbers, [0.05, 0.95])
    with np.errstate(over="ignore"):
        span = numbers.max() - numbers.min()
    return float((high - low) / span) if np.isfinite(span) else 1.0


def warn_of_skew(table: np.ndarray, columns: Sequence[Column]) -> list[str]:
    """Return a sentence on the columns whose histogram is nearly empty, and the scaling that spreads them out."""
    names = []
    for values, column in zip(table.T, columns, strict=True):
        numbers = values[~np.isnan(values)]
        if column.kind == "continuous" and column.scaling == "standard" and len(numbers):
            part = middle_share(numbers)
            if part < SKEWED:
                how = "log or quantile" if numbers.min() > 0 else "quantile"
                names.append(f"{column.name!r} (nine tenths of its values in {share(part, 1)} of its range; {how})")
    if not names:
        return []
    more = f" and {counted(len(names) - _NAMED, 'more column')}" if len(names) > _NAMED else ""
    return [
        f"Heavily skewed: {', '.join(names[:_NAMED])}{more}. To spread them out for an encoder, declare "
        '{"kind": "continuous", "scaling": "quantile"}, or log where it is named, in --schema; or declare extreme '
        "values as missing, if that is what they are."
    ]


def _readable_edges(numbers: np.ndarray) -> tuple[np.ndarray, str]:
    """Return edges of bins in which skewed numbers are spread out, and the axis on which the edges are even."""
    sizes = np.abs(numbers[numbers != 0])
    unit = np.quantile(sizes, 0.05) if len(sizes) else 1.0
    with np.errstate(over="ignore", under="ignore"):
        places = np.arcsinh(numbers / unit)  # logarithms, above the smallest sizes, and of either sign
        edges = unit * np.sinh(np.linspace(places.min(), places.max(), BINS + 1))
    edges[[0, -1]] = numbers.min(), numbers.max()
    if np.isfinite(edges).all() and (np.diff(edges) > 0).all() and middle_share(places) >= SKEWED:
        return edges, "log"
    low, high = np.quantile(numbers, [0.05, 0.95])
    return np.unique([numbers.min(), *np.linspace(low, high, BINS - 1), numbers.max()]), "middle"


def _histogram(numbers: np.ndarray, bins: int | np.ndarray) -> dict[str, list[float]]:
    try:
        with np.errstate(over="raise", invalid="raise"):
            counts, edges = np.histogram(numbers, bins=bins)
    except (ValueError, FloatingPointError):  # too close together, or too far apart
        counts, edges = np.array([len(numbers)]), np.array([numbers.min(), numbers.max()])
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _count(where: np.ndarray, rows: np.ndarray, place: int | None) -> int:
    return 0 if place is None else int(where[rows, place].sum())
