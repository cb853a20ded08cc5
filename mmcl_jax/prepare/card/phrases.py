"""The words for findings, shared by the data card and the terminal summary."""

import datetime
import math

from mmcl_jax.page.wording import category, counted, number, share
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.text import visible

_EPOCH = datetime.date(1970, 1, 1).toordinal()


def value_of(column: ColumnFinding, value: float) -> str:
    """Return a value of a column in words: a date for days since 1970-01-01, or a number."""
    if column.kind != "date" or not math.isfinite(value):
        return number(value)
    day = _EPOCH + math.floor(value)
    # Python's calendar covers the years 1 to 9999.
    return datetime.date.fromordinal(day).isoformat() if 1 <= day <= 3652059 else f"day {number(value)}"


def spread_of(column: ColumnFinding, stored: int, *, most: int = 3) -> str:
    """Summarise the values of a column: "12.5 … 99 (mean 40)" or "5 categories: petrol 40 %, diesel 30 %, …".

    Args:
      column: a feature or label.
      stored: number of rows in the store; shares are of the rows with a value.
      most: number of categories that are named.
    """
    if column.numbers:
        words = {key: value_of(column, value) for key, value in column.numbers.items()}
        ends = f"{words.get('min', '–')} … {words.get('max', '–')}"
        return f"{ends} (mean {words['mean']})" if "mean" in words and column.kind != "date" else ends
    if not column.top:
        return counted(column.distinct, "different value") if column.distinct else "no value"
    named = [f"{category(text)} {share(rows, stored - column.missing)}" for text, rows in column.top[:most]]
    total = max(column.distinct, len(column.top))
    return f"{counted(total, 'category', 'categories')}: {', '.join(named)}{', …' if total > len(named) else ''}"


def beyond_train(column: ColumnFinding) -> list[str]:
    """Return a sentence for each split with categories, or with numbers beyond the range, that train does not have."""
    unseen = [
        f"{counted(rows, 'row')} of {visible(split)}: a category that train does not have."
        for split, rows in column.unseen.items()
        if rows
    ]
    outside = [
        f"{counted(rows, 'row')} of {visible(split)}: a number outside of train's range."
        for split, rows in column.outside.items()
        if rows
    ]
    return unseen + outside


def skew_of(column: ColumnFinding) -> list[str]:
    """Return a sentence on the scale of a column or on its skew, if there is something to say."""
    if column.scaling != "standard":
        return [f"Standardised on the scale {visible(column.scaling)}."]
    if column.middle < 0.1:
        return [f"Heavily skewed: nine tenths of the values lie in {share(column.middle, 1)} of the range."]
    return []


def alike_of(findings: Findings) -> str:
    """Return a sentence on the groups of near-duplicate images that share a split; "" if rows were not grouped."""
    if not findings.alike:
        return ""
    groups, rows = (findings.alike.get(key, 0) for key in ("groups", "rows"))
    largest = f"; the largest has {counted(findings.alike.get('largest', 0), 'row')}" if groups else ""
    grouped = f"{counted(groups, 'group')} of near-duplicate images ({counted(rows, 'row')}{largest})"
    return f"{grouped} {'is' if groups == 1 else 'are'} never in two splits."


def features_of(findings: Findings) -> list[ColumnFinding]:
    """Return the columns that make up the table of the store."""
    return [column for column in findings.columns if column.role == "feature"]


def labels_of(findings: Findings) -> list[ColumnFinding]:
    """Return the columns that evaluation predicts."""
    return [column for column in findings.columns if column.role == "label"]


def left_out_of(findings: Findings) -> list[ColumnFinding]:
    """Return the columns that are neither feature nor label: ignored, or used for something else."""
    return [column for column in findings.columns if column.role not in ("feature", "label")]
