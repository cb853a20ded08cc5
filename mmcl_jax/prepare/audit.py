"""Findings on a table: statistics of columns, and warnings on columns, labels and splits."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.border import to_json
from mmcl_jax.data.schema import Column, Schema
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.page.wording import count, counted, share
from mmcl_jax.prepare.card.findings import ColumnFinding
from mmcl_jax.prepare.table.parse import Parsed

BINS = 24
TOP = 12
SKEWED = 0.1
_NAMED = 5  # classes that a sentence names
_UNEVEN = 0.1  # how far the size of a split or class may be from the requested or expected size, as a share of it
_DEVIATIONS = 4.0


def describe_columns(
    columns: Sequence[Parsed],
    schema: Schema,
    table: np.ndarray,
    statistics: Statistics,
    splits: Mapping[str, np.ndarray],
    left_out: Mapping[str, str],
) -> list[ColumnFinding]:
    """Return a finding on every column of the raw table.

    Args:
      columns: all parsed columns, with the values of the rows of the store.
      schema: of the store.
      table: `[N, F]`, raw values of the schema's columns in all rows of the store.
      statistics: of the training rows.
      splits: row numbers by split.
      left_out: by name, the reasons why parsed columns are not used.
    """
    indices = {column.name: index for index, column in enumerate(schema.columns)}
    later = {name: rows for name, rows in splits.items() if name != "train"}
    unseen, outside = statistics.unseen(table, schema), statistics.outside(table, schema)
    return [
        _describe(
            parsed,
            parsed.values,
            schema.columns[indices[parsed.name]] if parsed.name in indices else None,
            left_out.get(parsed.name, ""),
            {name: _count(unseen, rows, indices.get(parsed.name)) for name, rows in later.items()},
            {name: _count(outside, rows, indices.get(parsed.name)) for name, rows in later.items()},
        )
        for parsed in columns
    ]


def balance(labels: np.ndarray, columns: Sequence[Column], splits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Count the rows per class and split for every class label."""
    counts: dict[str, Any] = {}
    for index, column in enumerate(columns):
        if column.coded:
            counts[column.name] = {
                split: {text: int((labels[rows, index] == code).sum()) for code, text in enumerate(column.categories)}
                for split, rows in splits.items()
            }
    return counts


def warn_of_groups(groups: pl.Series, splits: Mapping[str, np.ndarray], name: str) -> list[str]:
    """Return a sentence if rows of one group are in two splits."""
    split_of: dict[Any, str] = {}
    both = set()
    for split, rows in splits.items():
        for group in groups.gather(rows).drop_nulls().unique():
            if split_of.setdefault(group, split) != split:
                both.add(group)
    if not both:
        return []
    first = sorted(map(str, both))[0]
    return [
        f"{len(both)} groups of {name!r} have rows in two splits, for example {first!r}; results on val and test will "
        "be too good."
    ]


def warn_of_labels(balances: Mapping[str, Any], remedy: str, *, declarable: bool) -> list[str]:
    """Return sentences on classes that a split lacks, and on labels with a single class.

    Args:
      balances: see `balance`.
      remedy: a phrase that says how every class gets a row in every split.
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
                advice = remedy
                if declarable and len(classes) - len(nowhere) > 2:
                    declared = to_json({"columns": {name: {"missing": absent[:_NAMED]}}}, ascii=False)
                    advice += (
                        f", or take {'it' if len(absent) == 1 else 'them'} out of the label by {declared} in --schema"
                    )
                sentences.append(f"The split {split} has no row of {_quoted(absent)} of {name!r}: {advice}.")
    return sentences


def warn_of_sizes(splits: Mapping[str, np.ndarray], fractions: Sequence[float], why: str) -> list[str]:
    """Return a sentence, with the reason `why`, if val or test is over a tenth larger or smaller than its fraction."""
    total = sum(map(len, splits.values()))
    off = [
        f"{name} has {count(len(members))} of {counted(total, 'row')} "
        f"({share(len(members), total)} for {100 * fraction:g} %)"
        for (name, members), fraction in zip(splits.items(), fractions, strict=True)
        if name != "train" and abs(len(members) - fraction * total) > max(1, _UNEVEN * fraction * total)
    ]
    return [f"The splits have other sizes than asked for, since {why}: {', '.join(off)}."] if off else []


def warn_of_shares(balances: Mapping[str, Any]) -> list[str]:
    """Return a sentence on every label with a class much rarer or more frequent in val or test than in all rows.

    Much means by more than four standard deviations of a random draw of as many rows, and by more than a tenth.
    """
    sentences = []
    for name, splits in balances.items():
        rows = np.array([list(counts.values()) for counts in splits.values()], float)
        shares = rows.sum(axis=0) / max(rows.sum(), 1)
        expected = rows.sum(axis=1, keepdims=True) * shares
        deviation = np.abs(rows - expected) / np.sqrt(np.maximum(expected * (1 - shares), 1))
        far = (deviation > _DEVIATIONS) & (np.abs(rows - expected) > _UNEVEN * expected)
        far[list(splits).index("train")] = False
        if far.any():
            split, code = np.unravel_index(np.where(far, deviation, 0).argmax(), far.shape)
            text, size = list(next(iter(splits.values())))[code], rows[split].sum()
            others = int(far.any(axis=0).sum()) - 1
            more = f", and {counted(others, 'more class differs', 'more classes differ')}" if others else ""
            sentences.append(
                f"Classes of {name!r} have other shares in val or test: {text!r} is {share(rows[split, code], size)} "
                f"of {list(splits)[split]} and {share(rows[:, code].sum(), rows.sum())} of all rows{more}."
            )
    return sentences


def _quoted(texts: Sequence[str]) -> str:
    """Return classes as a sentence names them: the class 'a'; the 2 classes 'a', 'b'; 30 classes, such as 'a'."""
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
    finding: dict[str, Any] = {"missing": values.null_count()}
    numbers = np.zeros(0)
    if parsed.kind in ("continuous", "date"):
        numbers = values.drop_nulls().to_numpy().astype(np.float64)
        finding["distinct"] = len(np.unique(numbers))
    elif parsed.kind:
        # Sorted here, since a call of polars costs more than the sorting of few categories.
        counted = values.drop_nulls().alias("text").value_counts(name="rows").rows()
        finding["distinct"] = len(counted)
        finding["top"] = heapq.nsmallest(TOP, counted, key=lambda item: (-item[1], item[0]))
    else:
        finding["distinct"] = values.drop_nulls().n_unique()
    if len(numbers):
        with np.errstate(over="ignore"):
            statistics = {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean(), "sd": numbers.std()}
        finding["numbers"] = {name: float(value) for name, value in statistics.items()} | {
            "median": float(np.median(numbers))
        }
        finding["middle"] = middle_share(numbers)
        finding["scaling"] = column.scaling if column is not None else "standard"
        narrow = finding["middle"] < SKEWED or finding["scaling"] != "standard"
        edges, finding["axis"] = _readable_edges(numbers) if narrow else (None, "linear")
        finding["histogram"] = _histogram(numbers, min(BINS, max(1, finding["distinct"])) if edges is None else edges)
    if column is not None:
        finding["unseen"] = {split: count for split, count in unseen.items() if count}
        finding["outside"] = {split: count for split, count in outside.items() if count}
    why = left_out or parsed.why
    return ColumnFinding(
        name=parsed.name, role=role, kind=parsed.kind, why=why, missing_words=parsed.missing_words, **finding
    )


def middle_share(numbers: np.ndarray) -> float:
    """Return which share of the range of numbers `[N]` their middle nine tenths span; 1 for up to ten distinct numbers.

    It is about 0.5 for normal numbers and 0.9 for uniform numbers; a column below `SKEWED` is heavily skewed.
    """
    if len(np.unique(numbers)) <= 10:
        return 1.0
    low, high = np.quantile(numbers, [0.05, 0.95])
    with np.errstate(over="ignore"):
        span = numbers.max() - numbers.min()
    return float((high - low) / span) if np.isfinite(span) else 1.0


def warn_of_skew(table: np.ndarray, columns: Sequence[Column]) -> list[str]:
    """Return a sentence on the heavily skewed columns, and the scaling that spreads their values out."""
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
        "values as missing, if they stand for no value."
    ]


def _readable_edges(numbers: np.ndarray) -> tuple[np.ndarray, str]:
    """Return edges of bins that spread skewed numbers out, and the name of the axis on which they are evenly spaced."""
    sizes = np.abs(numbers[numbers != 0])
    unit = np.quantile(sizes, 0.05) if len(sizes) else 1.0
    with np.errstate(over="ignore", under="ignore"):
        logs = np.arcsinh(numbers / unit)  # linear near zero and logarithmic beyond, for either sign
        edges = unit * np.sinh(np.linspace(logs.min(), logs.max(), BINS + 1))
    edges[[0, -1]] = numbers.min(), numbers.max()
    if np.isfinite(edges).all() and (np.diff(edges) > 0).all() and middle_share(logs) >= SKEWED:
        return edges, "log"
    low, high = np.quantile(numbers, [0.05, 0.95])
    return np.unique([numbers.min(), *np.linspace(low, high, BINS - 1), numbers.max()]), "middle"


def _histogram(numbers: np.ndarray, bins: int | np.ndarray) -> dict[str, list[float]]:
    try:
        with np.errstate(over="raise", invalid="raise"):
            counts, edges = np.histogram(numbers, bins=bins)
    except (ValueError, FloatingPointError):  # the numbers are too close together or too far apart for float64 bins
        counts, edges = np.array([len(numbers)]), np.array([numbers.min(), numbers.max()])
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _count(where: np.ndarray, rows: np.ndarray, index: int | None) -> int:
    return 0 if index is None else int(where[rows, index].sum())
