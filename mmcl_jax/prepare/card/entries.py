"""The section about the entries of the store: their kinds, the rows that have them, and a glance at their values."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, fragment, name, section, table
from mmcl_jax.page.wording import clipped, count, counted, number, share
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.images import figure
from mmcl_jax.prepare.reports.facts import text_lines

_TEXT = 400  # characters of a text that are shown


class Glance(NamedTuple):
    """Some values of an entry: images `[H, W, C]` uint8 with captions, or texts with captions."""

    images: Sequence[tuple[str, np.ndarray]] = ()
    texts: Sequence[tuple[str, str]] = ()


def entries(findings: Findings, glances: Mapping[str, Glance]) -> Html | None:
    """Return a table of all entries, and a glance at each; None if the findings list no entry."""
    if not findings.entries:
        return None
    lines = [_line(entry, findings.kept) for entry in findings.entries]
    head = ("Entry", "Kind", "One row", "Stored as", "Rows", "Missing", "From")
    absent = sum(entry["missing"] > 0 for entry in findings.entries)
    lead = f"A row of the store has {counted(len(lines), 'entry', 'entries')}" + (
        f"; {count(absent)} of them {'is' if absent == 1 else 'are'} missing in some rows."
        if absent
        else ", in every row."
    )
    parts = [_glance(entry, glances.get(entry["name"], Glance())) for entry in findings.entries]
    return section(
        "entries",
        "Entries",
        element("p", lead, class_="lead"),
        table("Entries of the store", head, lines, numeric={4, 5}),
        *[part for part in parts if part is not None],
    )


def _line(entry: Mapping[str, Any], stored: int) -> tuple[Child, ...]:
    kind = f"{entry['kind']}{' (target)' if entry['role'] == 'target' else ''}"
    of: Child = fragment(", of ", name(entry["of"])) if entry["of"] else None
    missing = f"{count(entry['missing'])} ({share(entry['missing'], stored)})" if entry["missing"] else "–"
    bad = ", ".join(f"{cause} {count(rows)}" for cause, rows in entry.get("bad", {}).items())
    shape = str(entry["stored"]).replace(" x ", "×")
    return (
        name(entry["name"]),
        fragment(kind, of),
        shape,
        str(entry["dtype"]),
        count(entry["rows"]),
        f"{missing}; bad: {bad}" if bad else missing,
        name(entry["source"], 40) if entry["source"] else "–",
    )


def _glance(entry: Mapping[str, Any], glance: Glance) -> Html | None:
    """Draw the values of an entry; return None for an entry that has its own section."""
    parts: list[Child] = []
    if facts := entry.get("values"):
        chart = charts.histogram(
            facts["edges"],
            facts["counts"],
            label=f"Histogram of the values of {clipped(entry['name'])}",
            written=number,
            median=facts["median"],
        )
        moments = f"median {number(facts['median'])} · mean {number(facts['mean'])} · sd {number(facts['sd'])}"
        moments += (
            f" · {share(facts['missing'], 1)} of the values missing · of {counted(facts['looked_at'], 'training row')}"
        )
        ends = [element("span", number(facts[key])) for key in ("min", "max")]
        parts.append(
            element("div", chart, element("div", ends, class_="ends"), element("p", moments, class_="moments"))
        )
    if genotypes := entry.get("genotypes"):
        parts += _genotypes(genotypes, str(entry["name"]))
    if text := entry.get("text"):
        parts += [element("p", line, class_="moments") for line in text_lines(text)]
    if entry["names"]:
        hidden = entry["named"] - len(entry["names"])
        listed: list[Child] = [
            fragment(" " if index else "", name(text, 24)) for index, text in enumerate(entry["names"])
        ]
        what = "Tokens" if entry["kind"] == "text" else "Features"
        parts.append(
            element("p", f"{what}: ", listed, f" and {count(hidden)} more" if hidden > 0 else "", class_="moments")
        )
    if columns := entry.get("columns"):
        rows = [(name(col["name"], 60), col["kind"], share(col["missing"], 1), col["values"]) for col in columns]
        parts.append(table(f"Columns of {entry['name']}", ("Column", "Kind", "Missing", "Values"), rows, numeric={2}))
    if classes := entry.get("classes"):
        total = sum(rows for _, rows in classes) or 1
        what = "box" if entry["kind"] == "boxes" else "pixel"
        bars = [(name(text, 40), float(rows), share(rows, total)) for text, rows in classes]
        parts.append(element("div", charts.bars(bars, total), element("p", f"Share of each {what}.", class_="moments")))
    if glance.images:
        sheet = "sheet large" if entry["kind"] == "volume" else "sheet"  # of three slices each
        parts.append(element("ul", [figure(caption, pixels) for caption, pixels in glance.images], class_=sheet))
    if glance.texts:
        lines = [(name(caption, 40), clipped(text, _TEXT)) for caption, text in glance.texts]
        parts.append(table(f"Texts of {entry['name']}", ("Row", "Text"), lines))
    return element("div", element("h3", name(entry["name"])), parts, class_="entry") if parts else None


def _genotypes(facts: Mapping[str, Any], entry: str) -> list[Child]:
    """Draw what is known of the variants of an entry: how many, of how many people, and how frequent."""
    frequency = facts["minor_frequency"]
    chart = charts.histogram(
        frequency["edges"],
        frequency["counts"],
        label=f"Histogram of the frequency of the rarer allele of the variants of {clipped(entry)}",
        written=number,
    )
    files = counted(facts["files"], "file")
    words = f"{counted(facts['variants'], 'variant')} of {count(facts['in_files'])} in {files}"
    words += f" · {counted(facts['people'], 'person', 'people')} · {share(facts['missing'], 1)} of the calls missing"
    words += f" · {count(facts['flipped'])} flipped to the store's allele" if facts["flipped"] else ""
    ends = [element("span", text) for text in ("rarer allele: 0", "0.5")]
    return [
        element("div", chart, element("div", ends, class_="ends"), element("p", words, class_="moments")),
    ]
