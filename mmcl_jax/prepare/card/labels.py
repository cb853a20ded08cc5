"""Sections about labels and their class balance, and about splits and subsets."""

import statistics
from collections.abc import Mapping

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, name, section, table
from mmcl_jax.page.wording import count, counted, share
from mmcl_jax.prepare.card.columns import distribution, more_of
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.phrases import alike_of, beyond_train, labels_of

Balance = Mapping[str, Mapping[str, int]]  # rows per class, by split

_LABELS = 60  # that are shown
_CLASSES = 20  # that are listed; of more classes, the most frequent ones


def labels(findings: Findings) -> Html:
    """Return the section on labels: the classes of each with their balance per split, or its distribution."""
    columns = {column.name: column for column in labels_of(findings)}
    named = [*columns, *(label for label in findings.labels if label not in columns)]
    if not named:
        calm = "There is no label: the store serves pretraining only, and its rows were split without stratification."
        return section("labels", "Labels", element("p", calm, class_="calm"))
    lead = element("p", "Labels are stored for evaluation. They are not part of the table.", class_="lead")
    parts = [_label(label, columns.get(label), findings) for label in named[:_LABELS]]
    return section("labels", "Labels", lead, parts, more_of(len(named) - len(parts), "label"))


def splits(findings: Findings) -> Html:
    """Return the section on splits: the number of rows per split and per subset."""
    parts = list(findings.splits.items())
    total = sum(findings.splits.values())
    lines = [
        ([charts.swatch(index), " ", name(split)], count(rows), share(rows, total))
        for index, (split, rows) in enumerate(parts)
    ]
    content: list[Child] = [
        element("div", charts.stacked(parts, label="Rows per split"), class_="tall"),
        table("Rows per split", ("Split", "Rows", "Share"), lines, numeric={1, 2}, narrow=True),
    ]
    if findings.subsets:
        subsets = [(name(subset), count(rows), share(rows, total)) for subset, rows in findings.subsets.items()]
        head = ("Subset", "Rows", "Of all rows")
        content.append(table("Subsets", head, subsets, numeric={1, 2}, captioned=True, narrow=True))
    if findings.alike:
        content.append(element("p", alike_of(findings), class_="moments"))
    return section("splits", "Splits and subsets" if findings.subsets else "Splits", content)


def _label(label: str, column: ColumnFinding | None, findings: Findings) -> Html:
    balance = findings.labels.get(label)
    kind = element("small", column.kind, class_="kind") if column and column.kind else None
    missing = f"{share(column.missing, findings.kept)} of rows have no value. " if column and column.missing else None
    notes = [element("li", sentence) for sentence in beyond_train(column)] if column else []
    return element(
        "div",
        element("h3", name(label), " ", kind),
        element("p", missing, column.why if column else None) if column and (missing or column.why) else None,
        _balance(balance) if balance else None,
        element("div", distribution(column, findings.kept), class_="single") if column and not balance else None,
        element("ul", notes, class_="notes") if notes else None,
        class_="label",
    )


def _balance(balance: Balance) -> Html:
    classes = list(dict.fromkeys(text for split in balance.values() for text in split))
    sums = {text: sum(split.get(text, 0) for split in balance.values()) for text in classes}
    few = len(classes) <= charts.SERIES
    listed = classes if len(classes) <= _CLASSES else sorted(classes, key=lambda text: (-sums[text], text))[:_CLASSES]
    return element(
        "div",
        _shares(classes, balance) if few else _extremes(classes, balance),
        _counts(listed, len(classes), sums, balance, coloured=few),
    )


def _shares(classes: list[str], balance: Balance) -> Html:
    """Draw a bar of the classes per split, so that a difference in balance is seen at once."""
    lines = [
        element(
            "li",
            element("span", name(split)),
            element("span", counted(sum(rows.values()), "row"), class_="number"),
            charts.stacked([(text, rows.get(text, 0)) for text in classes], label=f"Classes in {split}"),
        )
        for split, rows in balance.items()
    ]
    return element("div", charts.legend(name(text, 40) for text in classes), element("ul", lines, class_="bars"))


def _extremes(classes: list[str], balance: Balance) -> Html:
    lines = []
    for split, rows in balance.items():
        sizes = [rows.get(text, 0) for text in classes]
        present = sum(size > 0 for size in sizes)
        middle = statistics.median(sizes)
        median = count(int(middle)) if middle == int(middle) else f"{middle:,.1f}"
        lines.append((name(split), count(sum(sizes)), count(present), count(min(sizes)), median, count(max(sizes))))
    head = ("Split", "Rows", f"Of {counted(len(classes), 'class', 'classes')}", "Fewest", "Median", "Most")
    return table("Rows per class", head, lines, numeric={1, 2, 3, 4, 5}, captioned=True, narrow=True)


def _counts(listed: list[str], total: int, sums: Mapping[str, int], balance: Balance, *, coloured: bool) -> Html:
    most = max((sums[text] for text in listed), default=0)
    lines: list[list[Child]] = []
    for index, text in enumerate(listed):
        parts = [(split, rows.get(text, 0)) for split, rows in balance.items()]
        bar = charts.stacked(parts, label=f"Splits of {text}", whole=most)
        first = [charts.swatch(index), " ", name(text, 40)] if coloured else name(text, 40)
        lines.append([first, *(count(rows) for _, rows in parts), None if coloured else bar])
    hidden = total - len(listed)
    caption = f"The {len(listed)} most frequent of {total} classes" if hidden > 0 else "Rows per class and split"
    head = ["Class", *balance, "" if coloured else "All splits"]
    if coloured:
        lines, head = [line[:-1] for line in lines], head[:-1]
    counts = table(caption, head, lines, numeric=range(1, 1 + len(balance)), captioned=hidden > 0, narrow=coloured)
    return element("div", None if coloured else charts.legend(map(name, balance)), counts)
