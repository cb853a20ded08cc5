"""Sections about rows: the warnings, and the rows that were lost, with reasons."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, folded, fragment, name, section, table
from mmcl_jax.page.wording import clipped, count, counted, number, share
from mmcl_jax.prepare.card.columns import more_of
from mmcl_jax.prepare.card.findings import Findings

QUARANTINE_SHOWN = 50
WARNINGS_SHOWN = 200
_NEAR_DUPLICATES_SHOWN = 50


def attention(findings: Findings) -> Html:
    """Return the section on warnings, worst first, and on near duplicates in different splits."""
    if not findings.warnings and not findings.near_duplicates:
        calm = element("p", "No warning was raised while this data set was prepared.", class_="calm")
        return section("attention", "What needs your attention", calm)
    shown = findings.warnings[:WARNINGS_SHOWN]
    warnings = element("ol", [element("li", clipped(sentence, 1000)) for sentence in shown], class_="warnings")
    return section(
        "attention",
        "What needs your attention",
        warnings if findings.warnings else None,
        more_of(len(findings.warnings) - len(shown), "warning"),
        _near_duplicates(findings.near_duplicates),
    )


def _near_duplicates(near_duplicates: Sequence[Mapping[str, Any]]) -> Html | None:
    if not near_duplicates:
        return None
    rows = []
    for pair in near_duplicates[:_NEAR_DUPLICATES_SHOWN]:
        splits, difference = pair.get("splits", ""), pair.get("difference", "")
        rows.append(
            (
                name(pair.get("first", "")),
                name(pair.get("second", "")),
                ", ".join(map(str, splits)) if isinstance(splits, list | tuple) else str(splits),
                number(difference) if isinstance(difference, int | float) else str(difference),
            )
        )
    head = ("Image", "Near duplicate", "Splits", "Difference")
    shown = table("Near-duplicate images in different splits", head, rows, numeric={3})
    more = _more(len(near_duplicates) - len(rows), "more pair is", "more pairs are", "findings.json")
    title = f"{counted(len(near_duplicates), 'pair')} of near-duplicate images in different splits"
    return folded(title, shown, more)


def rows(findings: Findings, quarantine: Sequence[Mapping[str, Any]]) -> Html:
    """Return the section on rows: how many each step from raw files to the store kept, and why rows were lost."""
    return section(
        "rows",
        "Rows kept and lost",
        _flow(findings),
        _causes(findings),
        _quarantine(quarantine),
    )


def _flow(findings: Findings) -> Html:
    steps = [(str(step["what"]), int(step["before"]), int(step["after"])) for step in findings.steps]
    simple = all(entry["name"] in ("image", "table", "labels") for entry in findings.entries)
    what = "with a usable image and usable values" if simple else "and other entries that are kept"
    steps.append((f"Rows of {findings.source} {what}", findings.rows, findings.kept))
    most = max(max(before, after) for _, before, after in steps)
    lines: list[Child] = []
    if findings.steps:
        lines.append(_stage("Rows to begin with", steps[0][1], 0, most))
    lines += [_stage(what, after, after - before, most) for what, before, after in steps]
    return element("ol", lines, class_="flow")


def _stage(what: str, left: int, change: int, most: int) -> Html:
    sign = "+" if change > 0 else "−"
    difference = f"{sign}{count(abs(change))}" if change else ""
    return element(
        "li",
        element("span", what),
        element("span", element("b", count(left)), " ", element("small", difference), class_="number"),
        charts.bar(left, most),
    )


def _causes(findings: Findings) -> Html:
    lost = findings.rows - findings.kept
    if lost <= 0 and not findings.lost:
        return element("p", f"All {counted(findings.rows, 'row')} of {findings.source} were kept.", class_="calm")
    causes = sorted(findings.lost.items(), key=lambda item: (-item[1], item[0]))
    # Rows that no cause explains are shown, too: a row that vanished would be worse than a bad row.
    unexplained = lost - sum(findings.lost.values())
    lines = [(cause, count(rows), share(rows, findings.rows)) for cause, rows in causes]
    if unexplained > 0:
        lines.append(("no cause recorded", count(unexplained), share(unexplained, findings.rows)))
    head = ("Cause", "Rows", f"Of {counted(findings.rows, 'row')}")
    return table("Rows lost, by cause", head, lines, numeric={1, 2}, captioned=True, narrow=True)


def _quarantine(quarantine: Sequence[Mapping[str, Any]]) -> Html | None:
    if not quarantine:
        return None
    shown = quarantine[:QUARANTINE_SHOWN]
    lines = [
        (_row(entry.get("row")), _cell(entry.get("image")), _cause(entry), str(entry.get("reason", "")))
        for entry in shown
    ]
    listing = table("Rows in quarantine", ("Row", "Image", "Cause", "Reason"), lines, numeric={0})
    more = _more(len(quarantine) - len(shown), "more row is", "more rows are", "quarantine.jsonl")
    return folded(f"{counted(len(quarantine), 'row')} in quarantine, each with its reason", listing, more)


def _row(row: object) -> str:
    return count(row) if isinstance(row, int) else "–" if row is None else str(row)


def _cause(entry: Mapping[str, Any]) -> Child:
    """Return the cause, and the entry that the row lacks because of it."""
    cause = _cell(entry.get("cause"))
    return fragment(cause, " of ", name(entry["entry"])) if entry.get("entry") else cause


def _cell(value: object) -> Child:
    return "–" if value is None else name(value)


def _more(left: int, one: str, many: str, where: str) -> Html | None:
    if left <= 0:
        return None
    return element("p", fragment(counted(left, one, many), " in ", element("code", where), "."), class_="more")
