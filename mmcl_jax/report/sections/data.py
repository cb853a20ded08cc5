"""The section on the data: the rows, the entries and the warnings of the store, and where its data card is."""

from collections.abc import Sequence

from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, name, section, table
from mmcl_jax.page.wording import count, counted
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.report.subject import Subject, paragraph

_WARNINGS = 6


def data(subjects: Sequence[Subject]) -> Html:
    """Return the section; runs on several stores have a part each, and the page says so."""
    by_store: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_store.setdefault(subject.run.fingerprint, []).append(subject)
    parts: list[Child] = []
    if len(by_store) > 1:
        parts.append(paragraph(different(subjects)))
    for members in by_store.values():
        if len(by_store) > 1:
            parts.append(element("h3", "Store of ", name(", ".join(member.name for member in members), 80)))
        try:
            parts.append(_store(members[0].store))
        except UserError as error:
            parts.append(paragraph(str(error)))
    return section("data", "Data", *parts)


def different(subjects: Sequence[Subject]) -> str:
    """Return a sentence on runs that were trained on several stores; "" if all have one."""
    stores = len({subject.run.fingerprint for subject in subjects})
    if stores < 2:
        return ""
    return f"These runs were trained on {stores} different stores, so their numbers do not compare like with like."


def _store(store: Store) -> Html:
    rows = []
    for entry_name, entry in store.schema.entries.items():
        words = "; ".join(KINDS[entry.kind].describe(entry_name, store.schema, store.names(entry_name)))
        if entry_name == store.schema.first("table", "target"):
            words = ", ".join(
                f"{label.name} ({counted(len(label.categories), 'class', 'classes') if label.coded else label.kind})"
                for label in store.schema.labels
            )
        missing = "not in every row" if entry.optional else "in every row"
        rows.append([name(entry_name, 40), f"{entry.kind}, {entry.role}", name(words, 160), missing])
    sizes = list(store.sizes.items())
    warnings, card, quarantined = store.warnings, store.directory / "card.html", store.quarantined()
    left_out = f"; {counted(quarantined, 'row')} left out in quarantine" if quarantined else ""
    folds = f"; {counted(len(store.folds), 'fold')}" if store.folds else ""
    return element(
        "div",
        element(
            "p",
            name(store.directory, 100),
            f": {counted(sum(store.sizes.values()), 'row')}{left_out}{folds}.",
            class_="lead",
        ),
        charts.legend([name(split), f" {count(size)}"] for split, size in sizes),
        charts.stacked(sizes, label="Rows per split"),
        table("Entries of the store", ["Entry", "Kind", "Content", "Rows"], rows),
        element("h3", counted(len(warnings), "warning") + " of the data card, worst first") if warnings else None,
        element("ol", [element("li", element("span", line)) for line in warnings[:_WARNINGS]], class_="warnings")
        if warnings
        else element("p", "The data card has no warnings.", class_="calm"),
        element("p", f"and {count(len(warnings) - _WARNINGS)} more", class_="calm")
        if len(warnings) > _WARNINGS
        else None,
        element("p", "The whole data card: ", element("code", str(card)), class_="calm") if card.is_file() else None,
    )


def source_of(store: Store) -> str:
    """Return the name of the table or data set that a store was made of; "" if its findings do not tell."""
    try:
        return Findings.of(store).source
    except UserError:
        return ""
