"""The summary that `prepare` prints at its end: the data card in a screenful or two."""

import statistics
from collections.abc import Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmcl_jax.page.wording import category, clipped, count, counted, share
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.forest import gives_away, score
from mmcl_jax.prepare.card.phrases import alike_of, features_of, labels_of, left_out_of, spread_of
from mmcl_jax.text import visible

_COLUMNS = 40  # that are listed
_CLASSES = 6  # that are listed with their shares
_LEFT_OUT = 60  # columns that are listed per reason, and reasons
_WARNINGS = 100  # that are listed
_BEYOND = 8  # columns that are listed
_STYLES = {"head": "bold", "bad": "bold red", "good": "green", "soft": "dim"}


def show(findings: Findings, console: Console) -> None:
    """Print the summary, coloured on a terminal and plain in a file or pipe."""
    for part in summarise(findings, width=console.width):
        console.print(part)


def summarise(findings: Findings, *, width: int = 80) -> list[RenderableType]:
    """Return the summary as a list of parts.

    Args:
      findings: the findings of `prepare`.
      width: characters per line.

    Returns:
      Parts that `rich` can print, with no line wider than `width`.
    """
    parts = [
        _rows(findings),
        _entries(findings),
        _features(findings, width),
        _beyond(features_of(findings) + labels_of(findings)),
        _left_out(left_out_of(findings)),
        _labels(findings),
        _splits(findings),
        _forest(findings),
        _warnings(findings),
    ]
    shown = [part for part in parts if part is not None]
    return [line for part in shown for line in (Text(""), part)][1:]  # an empty line between two parts


def _rows(findings: Findings) -> RenderableType:
    kept = f"{counted(findings.kept, 'row')} of {count(findings.rows)} kept ({share(findings.kept, findings.rows)})"
    columns = f", {counted(len(features_of(findings)), 'table column')}"
    inputs = [entry["kind"] for entry in findings.entries if entry["role"] == "input"]
    if inputs and "table" not in inputs:
        columns = ""
    stored = findings.images.get("stored")
    images = f", images {visible(stored)}" if stored else ""
    head = _text((visible(findings.source), "head"), f": {kept}{columns}{images}.")
    causes = sorted(findings.lost.items(), key=lambda item: (-item[1], item[0]))
    unexplained = findings.rows - findings.kept - sum(findings.lost.values())
    if unexplained > 0:
        causes.append(("no cause recorded", unexplained))
    if not causes:
        return head
    lost = ", ".join(f"{visible(cause)} {count(rows)}" for cause, rows in causes)
    return Group(head, _text(("Lost: ", "bad"), f"{lost}."))


def _entries(findings: Findings) -> RenderableType | None:
    """Return the list of entries; None if the store has only an image and a table, complete in every row."""
    simple = ("image", "table", "labels")
    if all(entry["name"] in simple and not entry["missing"] and not entry.get("bad") for entry in findings.entries):
        return None
    lines = []
    for entry in findings.entries:
        role = " (target)" if entry["role"] == "target" else ""
        kind = f"{entry['kind']}{role} {entry['stored']} {entry['dtype']}".rstrip()
        missing = f"missing in {counted(entry['missing'], 'row')}" if entry["missing"] else "in every row"
        bad = ", ".join(f"{visible(cause)} {count(rows)}" for cause, rows in entry.get("bad", {}).items())
        lines.append(
            _text(
                f"{clipped(entry['name'], 40)}: {kind}, {missing}",
                (f" ({share(entry['missing'], findings.kept)})" if entry["missing"] else "", "soft"),
                (f"; bad: {bad}" if bad else "", "bad"),
            )
        )
    return _listed(_text(("Entries:", "head")), lines)


def _features(findings: Findings, width: int) -> RenderableType | None:
    columns = features_of(findings)
    if not columns:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), width=width, header_style="bold")
    longest = max(len(clipped(column.name, width // 3)) for column in columns[:_COLUMNS])
    table.add_column("column", no_wrap=True, width=max(longest, len("column")))
    table.add_column("kind", no_wrap=True, width=max(len(column.kind) for column in columns[:_COLUMNS]))
    table.add_column("missing", no_wrap=True, justify="right", width=7)
    table.add_column("values", no_wrap=True, overflow="ellipsis", ratio=1)
    for column in columns[:_COLUMNS]:
        cells = (
            clipped(column.name, width // 3),
            column.kind,
            share(column.missing, findings.kept) if column.missing else "–",
            spread_of(column, findings.kept, most=5),
        )
        table.add_row(*map(Text, cells))
    others = columns[_COLUMNS:]
    if not others:
        return table
    kinds: dict[str, int] = {}
    for column in others:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    by_kind = ", ".join(f"{count(number)} {kind}" for kind, number in kinds.items())
    incomplete = sum(column.missing > 0 for column in others)
    tail = f"; {count(incomplete)} of them with missing values" if incomplete else ""
    table.caption, table.caption_justify = Text(f"and {count(len(others))} more: {by_kind}{tail}."), "left"
    return table


def _beyond(columns: Iterable[ColumnFinding]) -> Text | None:
    """Return the list of columns with categories, or numbers beyond the range, that train does not have."""
    listed = []
    for column in columns:
        unseen = [f"{visible(split)} {count(rows)} unseen" for split, rows in column.unseen.items() if rows]
        outside = [f"{visible(split)} {count(rows)} out of range" for split, rows in column.outside.items() if rows]
        if unseen or outside:
            listed.append(f"{clipped(column.name, 40)} ({', '.join(unseen + outside)})")
    if not listed:
        return None
    more = f", and {counted(len(listed) - _BEYOND, 'more column')}" if len(listed) > _BEYOND else ""
    return _text(("Rows with values beyond those of train: ", "head"), ", ".join(listed[:_BEYOND]), more, ".")


def _left_out(columns: list[ColumnFinding]) -> RenderableType | None:
    if not columns:
        return None
    groups: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        groups.setdefault((column.role, column.why), []).append(visible(column.name))
    lines = []
    for (role, why), names in list(groups.items())[:_LEFT_OUT]:
        used = "" if role == "ignore" else f" ({visible(role)})"
        more = f", and {count(len(names) - _LEFT_OUT)} more" if len(names) > _LEFT_OUT else ""
        reason = visible(why) or ("no reason recorded" if role == "ignore" else "")
        lines.append(_text(", ".join(names[:_LEFT_OUT]), f"{more}{used}", (f": {reason}" if reason else "", "soft")))
    others = sum(map(len, list(groups.values())[_LEFT_OUT:]))
    lines += [_text(f"and {counted(others, 'more column')} for other reasons, in findings.json")] if others else []
    return _listed(_text(("Not in the table:", "head")), lines)


def _labels(findings: Findings) -> RenderableType:
    columns = {column.name: column for column in labels_of(findings)}
    lines = []
    for label in [*columns, *(label for label in findings.labels if label not in columns)]:
        column, balance = columns.get(label), findings.labels.get(label)
        missing = f", {share(column.missing, findings.kept)} missing" if column and column.missing else ""
        if balance:
            classes = list(dict.fromkeys(text for split in balance.values() for text in split))
            lines.append(_text(f"{clipped(label, 40)}: {counted(len(classes), 'class', 'classes')}{missing}"))
            lines += [_text(f"  {visible(split)}: {_balance(classes, rows)}") for split, rows in balance.items()]
        elif column:
            lines.append(_text(f"{clipped(label, 40)}: {spread_of(column, findings.kept)}{missing}"))
    return _listed(_text(("Labels:", "head"), "" if lines else " none."), lines)


def _balance(classes: list[str], rows: Mapping[str, int]) -> str:
    """Return the shares of a few classes, or the smallest, median and largest size of many classes."""
    sizes, total = [rows.get(text, 0) for text in classes], sum(rows.values())
    if len(classes) <= _CLASSES:
        return ", ".join(f"{category(text)} {share(size, total)}" for text, size in zip(classes, sizes, strict=True))
    absent = sum(size == 0 for size in sizes)
    spread = f"{count(min(sizes))} to {count(max(sizes))} rows each, median {statistics.median(sizes):,g}"
    return f"{spread}; {counted(absent, 'class is', 'classes are')} absent" if absent else spread


def _splits(findings: Findings) -> RenderableType | None:
    if not findings.splits:
        return None
    total = sum(findings.splits.values())
    splits = ", ".join(
        f"{visible(split)} {count(rows)} ({share(rows, total)})" for split, rows in findings.splits.items()
    )
    lines = [_text(("Splits: ", "head"), splits, ".")]
    if findings.alike:
        lines.append(_text(alike_of(findings)))
    if findings.subsets:
        subsets = ", ".join(f"{visible(subset)} {count(rows)}" for subset, rows in findings.subsets.items())
        lines.append(_text(("Subsets: ", "head"), subsets, "."))
    return Group(*lines)


def _forest(findings: Findings) -> RenderableType | None:
    if not findings.forest:
        return None
    lines = []
    for label, result in findings.forest.items():
        metric, value, chance = str(result.get("metric", "")), result.get("value"), result.get("chance")
        reached = score(metric, value) if isinstance(value, int | float) else "–"
        by_chance = f" (chance {score(metric, chance)})" if isinstance(chance, int | float) else ""
        leaky = (
            ": results with table input mean little; only results on images alone are meaningful"
            if gives_away(result)
            else ""
        )
        lines.append(_text(f"{clipped(label, 40)}: {visible(metric)} {reached}{by_chance}", (leaky, "bad")))
    return _listed(_text(("A random forest on the table alone:", "head")), lines)


def _warnings(findings: Findings) -> RenderableType:
    if not findings.warnings:
        return _text(("No warnings.", "good"))
    lines = [
        _text((f"{number}. ", "bad"), visible(sentence))
        for number, sentence in enumerate(findings.warnings[:_WARNINGS], start=1)
    ]
    if len(findings.warnings) > _WARNINGS:
        lines.append(_text(f"and {count(len(findings.warnings) - _WARNINGS)} more, in findings.json"))
    return _listed(_text((f"{counted(len(findings.warnings), 'warning')}, worst first:", "bad")), lines)


def _listed(head: Text, lines: Iterable[Text]) -> RenderableType:
    return Group(head, *(Padding(line, (0, 0, 0, 2), expand=False) for line in lines))


def _text(*parts: str | tuple[str, str]) -> Text:
    # Text is assembled, not parsed, so that a name in square brackets cannot become a style.
    styled = [part if isinstance(part, str) else (part[0], _STYLES[part[1]]) for part in parts]
    return Text.assemble(*styled, overflow="fold")
