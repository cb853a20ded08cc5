"""How names, counts, shares and values read, on the page and on the terminal alike."""

import datetime
import math

from mmcl_jax.data.findings import ColumnFinding, Findings
from mmcl_jax.text import visible

_EPOCH = datetime.date(1970, 1, 1).toordinal()


def clipped(text: object, most: int = 80) -> str:
    """`visible(text)`, its middle left out where it has more than `most` characters: names often differ at the end."""
    plain = visible(text)
    if len(plain) <= most:
        return plain
    head = (most - 1) // 2
    return f"{plain[:head]}…{plain[-(most - 1 - head) :]}"


def count(number: int) -> str:
    """A number of things, in groups of three digits."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "row"), counted(1200, "row"), counted(3, "class", "classes")
    ('1 row', '1,200 rows', '3 classes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """A part in percent; "0 %" and "100 %" are exact.

    >>> share(0, 9), share(1, 90000), share(1, 64), share(1, 3), share(9999, 10000)
    ('0 %', '<0.1 %', '1.6 %', '33 %', '>99.9 %')
    """
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if percent < 9.95 or percent > 99 else f"{percent:.0f} %"


def number(value: float) -> str:
    """A value of a column, to three significant digits or to the unit.

    Four digits stand together, since many such numbers are years.

    >>> number(2008), number(12500.4), number(0.01234), number(-3.0), number(2.5e19), number(float("nan"))
    ('2008', '12,500', '0.0123', '-3', '2.5e+19', '–')
    """
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if value == int(value) or abs(value) >= 999.5:
        return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:.0f}"
    return f"{value:.3g}"


def value_of(column: ColumnFinding, value: float) -> str:
    """A value of a column as its kind is written: a date from days since 1970-01-01, or a number."""
    if column.kind != "date" or not math.isfinite(value):
        return number(value)
    day = _EPOCH + math.floor(value)
    # Python's calendar has the years 1 to 9999.
    return datetime.date.fromordinal(day).isoformat() if 1 <= day <= 3652059 else f"day {number(value)}"


def spread_of(column: ColumnFinding, kept: int, *, most: int = 3) -> str:
    """The values of a column in a few words: "12.5 … 99 (mean 40)" or "5 categories: petrol 40 %, diesel 30 %, …".

    Args:
      column: a feature or label.
      kept: rows in the store; shares are of those with a value.
      most: categories that are named.
    """
    if column.numbers:
        said = {key: value_of(column, value) for key, value in column.numbers.items()}
        ends = f"{said.get('min', '–')} … {said.get('max', '–')}"
        return f"{ends} (mean {said['mean']})" if "mean" in said and column.kind != "date" else ends
    if not column.top:
        return counted(column.distinct, "different value") if column.distinct else "no value"
    named = [f"{category(text)} {share(rows, kept - column.missing)}" for text, rows in column.top[:most]]
    known = max(column.distinct, len(column.top))
    return f"{counted(known, 'category', 'categories')}: {', '.join(named)}{', …' if known > len(named) else ''}"


def category(text: str) -> str:
    """A category before its share: in quotes where it ends in a digit, lest "5 66 %" be read as one number."""
    short = clipped(text, 24)
    return f"'{short}'" if not short.strip() or short[-1].isdigit() else short


def beyond_train(column: ColumnFinding) -> list[str]:
    """One sentence per split with values that train does not have."""
    unseen = [
        f"{counted(rows, 'row')} of {visible(split)}: a category that train does not have."
        for split, rows in column.unseen.items()
        if rows
    ]
    outside = [
        f"{counted(rows, 'row')} of {visible(split)}: outside train's range."
        for split, rows in column.outside.items()
        if rows
    ]
    return unseen + outside


def skew_of(column: ColumnFinding) -> list[str]:
    """A sentence on the scale of a column, or on how skewed it is."""
    if column.scaling != "standard":
        return [f"Standardised in the scale {visible(column.scaling)}."]
    if column.middle < 0.1:
        return [f"Heavily skewed: nine tenths of the values are in {share(column.middle, 1)} of the range."]
    return []


def alike_of(findings: Findings) -> str:
    """A sentence on the groups of near-duplicate pictures, or "" if none were made."""
    if not findings.alike:
        return ""
    groups, rows = (findings.alike.get(key, 0) for key in ("groups", "rows"))
    largest = f"; the largest has {counted(findings.alike.get('largest', 0), 'row')}" if groups else ""
    made = f"{counted(groups, 'group')} of near-duplicate pictures ({counted(rows, 'row')}{largest})"
    return f"{made} {'is' if groups == 1 else 'are'} never in two splits."


def features_of(findings: Findings) -> list[ColumnFinding]:
    """The columns that make up the table of the store."""
    return [column for column in findings.columns if column.role == "feature"]


def labels_of(findings: Findings) -> list[ColumnFinding]:
    """The columns to be predicted."""
    return [column for column in findings.columns if column.role == "label"]


def left_out_of(findings: Findings) -> list[ColumnFinding]:
    """The columns that are neither feature nor label: ignored, or used for something else."""
    return [column for column in findings.columns if column.role not in ("feature", "label")]
