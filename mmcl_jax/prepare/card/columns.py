"""Sections about columns: the columns of the table with their distributions, and the columns left out, with reasons."""

import itertools
from collections import Counter

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, folded, name, section, table
from mmcl_jax.page.wording import clipped, count, counted, number, share
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.phrases import beyond_train, features_of, left_out_of, skew_of, spread_of, value_of
from mmcl_jax.text import visible

CHARTED = 60  # features with a chart; more charts would make the page slow and unread
LISTED = 1000  # further features, and columns left out, that have a line; more would make the page large
_NAMED = 400_000  # characters of the names of columns without a line
_CATEGORIES = 5
_LEFT_OUT_OPEN = 40
_AXES = {"log": "logarithmic axis", "middle": "outer bars: the lowest and highest twentieth"}


def features(findings: Findings) -> Html | None:
    """Return the columns of the store's table: some with charts, some as lines, the rest counted; None for no table."""
    columns = features_of(findings)
    if not columns:
        return None
    by_kind = _by_kind(columns)
    incomplete = sum(column.missing > 0 for column in columns)
    lead = element(
        "p",
        f"{counted(len(columns), 'column')} make up the table: {by_kind}. ",
        f"{count(incomplete)} of them {'has' if incomplete == 1 else 'have'} missing values."
        if incomplete
        else "None has missing values.",
        " Distributions are over all rows of the store; the line marks the median.",
        class_="lead",
    )
    cards = element("ul", [_card(column, findings.kept) for column in columns[:CHARTED]], class_="cards")
    return section("table", "The table", lead, cards, _others(columns[CHARTED:], findings.kept))


def distribution(column: ColumnFinding, stored: int) -> Html:
    """Draw the values of one column: a histogram with its ends, or bars of the most frequent categories."""
    if column.histogram:
        chart = charts.histogram(
            column.histogram["edges"],
            column.histogram["counts"],
            label=f"Histogram of {visible(column.name)}: {spread_of(column, stored)}",
            written=lambda value: value_of(column, value),
            median=column.numbers.get("median"),
            even=column.axis == "linear",
        )
        if chart is not None:
            return element("div", chart, _ends(column), _moments(column))
    if column.top:
        return _categories(column, stored)
    return element("p", spread_of(column, stored), class_="calm")


def left_out(findings: Findings) -> Html:
    """Return the columns that are neither feature nor label, each with the reason."""
    columns = left_out_of(findings)
    if not columns:
        return section("left-out", "Columns left out", element("p", "No column was left out.", class_="calm"))
    lead = "No encoder sees these columns."
    shown = columns[:LISTED]
    lines: list[tuple[Child, ...]] = [(name(column.name), _role(column), column.why or "–") for column in shown]
    listing: Html = table("Columns left out", ("Column", "Used as", "Why"), lines)
    if len(columns) > _LEFT_OUT_OPEN:
        listing = folded(f"All {counted(len(columns), 'column')}", listing)
    lead_line = element("p", lead, class_="lead")
    return section("left-out", "Columns left out", lead_line, listing, more_of(len(columns) - len(shown), "column"))


def _card(column: ColumnFinding, stored: int) -> Html:
    kind = ", ".join([column.kind, *([column.unit] if column.unit else []), *column.tags])
    heading = element("h3", name(column.name, 60), " ", element("small", kind, class_="kind"))
    why = element("p", column.why, class_="why") if column.why else None
    notes = [element("li", sentence) for sentence in (*skew_of(column), *beyond_train(column))]
    return element(
        "li",
        heading,
        why,
        distribution(column, stored),
        element("div", _missing(column, stored), class_="foot"),
        element("ul", notes, class_="notes") if notes else None,
    )


def _ends(column: ColumnFinding) -> Html:
    ends = [element("span", value_of(column, column.numbers[key])) for key in ("min", "max") if key in column.numbers]
    return element("div", ends, class_="ends")


def _moments(column: ColumnFinding) -> Html:
    moments = [f"{key} {value_of(column, column.numbers[key])}" for key in ("median", "mean") if key in column.numbers]
    if "sd" in column.numbers:
        moments.append(f"sd {number(column.numbers['sd'])}{' days' if column.kind == 'date' else ''}")
    if column.axis in _AXES:
        moments.append(_AXES[column.axis])
    return element("p", " · ".join(moments), class_="moments")


def _categories(column: ColumnFinding, stored: int) -> Html:
    present = stored - column.missing
    shown = column.top[:_CATEGORIES]
    lines = [(name(text, 40), float(rows), share(rows, present)) for text, rows in shown]
    hidden = max(column.distinct, len(column.top)) - len(shown)
    rest = present - sum(rows for _, rows in shown)
    more = f"and {counted(hidden, 'other', 'others')}, {share(rest, present)} of rows" if hidden > 0 else None
    return element("div", charts.bars(lines, present), element("p", more, class_="moments") if more else None)


def _missing(column: ColumnFinding, stored: int) -> Child:
    different = f"{count(column.distinct)} different"
    if not column.missing:
        return [element("span", "none missing"), element("span", different)]
    by_count = sorted(column.missing_words.items(), key=lambda item: -item[1])
    words = ", ".join(f"{_quoted(word)} × {count(rows)}" for word, rows in by_count)
    return [
        element("span", f"{share(column.missing, stored)} missing"),
        element("span", different),
        charts.bar(column.missing, stored, "gap"),
        element("small", f"as {words}") if words else None,
    ]


def _quoted(word: str) -> str:
    return f"“{visible(word)}”" if word.strip() else "empty cell"


def _others(columns: list[ColumnFinding], stored: int) -> Html | None:
    if not columns:
        return None
    lines: list[tuple[Child, ...]] = [
        (
            name(column.name, 60),
            column.kind,
            share(column.missing, stored),
            count(column.distinct),
            " ".join([spread_of(column, stored), *beyond_train(column)]),
        )
        for column in columns[:LISTED]
    ]
    head = ("Column", "Kind", "Missing", "Different", "Values")
    rest = columns[LISTED:]
    return folded(
        f"{counted(len(columns), 'more column')}, without charts",
        table("Further columns of the table", head, lines, numeric={2, 3}),
        _named(rest),
    )


def _named(columns: list[ColumnFinding]) -> list[Child]:
    """Return the names of columns by kind, as many as fit into `_NAMED` characters, and the number of the others."""
    if not columns:
        return []
    names = [clipped(column.name, 60) for column in columns]
    lengths = itertools.accumulate(len(text) + 2 for text in names)
    fit = sum(length <= _NAMED for length in lengths)
    by_kind: dict[str, list[str]] = {}
    for column, text in zip(columns[:fit], names, strict=False):
        by_kind.setdefault(column.kind, []).append(text)
    lines: list[Child] = [element("p", f"{kind}: {', '.join(texts)}") for kind, texts in by_kind.items()]
    heading = f"{counted(len(columns), 'more column')}, described in findings.json"
    return [element("h4", heading), *lines, more_of(len(columns) - fit, "column")]


def _by_kind(columns: list[ColumnFinding]) -> str:
    kinds = Counter(column.kind for column in columns)
    return ", ".join(f"{count(number)} {kind}" for kind, number in kinds.items())


def more_of(hidden: int, what: str) -> Html | None:
    """Return a line on what the page leaves to `findings.json`; None if that is nothing."""
    if hidden <= 0:
        return None
    line = f"and {counted(hidden, f'more {what}')}, described in "
    return element("p", line, element("code", "findings.json"), ".", class_="moments")


def _role(column: ColumnFinding) -> str:
    return "left out" if column.role == "ignore" else column.role
