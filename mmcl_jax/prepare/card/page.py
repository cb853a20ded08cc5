"""The page of the data card, from its head to its footer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, document, element, fragment, name, section
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped, count, counted, share
from mmcl_jax.prepare.card import columns, entries, forest, labels, rows
from mmcl_jax.prepare.card.entries import Glance
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.images import contact_sheet, strip
from mmcl_jax.prepare.card.phrases import features_of, labels_of

_LOAD = """import tensorflow_datasets as tfds

builder = tfds.builder_from_directory("path/to/this/store")
print(builder.info.features)
examples = builder.as_data_source("{split}")  # random access; needs no TensorFlow
print(examples[0])"""
_PRETRAIN = "mmcl pretrain --config mmcl --config.data=path/to/this/store --workdir runs/first"


def render_card(
    findings: Findings,
    *,
    title: str,
    images: Sequence[tuple[str, np.ndarray]],
    quarantine: Sequence[Mapping[str, Any]],
    glances: Mapping[str, Glance] | None = None,
) -> str:
    """Return the data card as one HTML page that needs no network and no script; equal findings give equal pages.

    Args:
      findings: the findings of `prepare`.
      title: heading of the page, such as the name of the data set.
      images: a few dozen images of the store, uint8 `[H, W, C]`, each with a caption: (caption, pixels).
      quarantine: the rows in quarantine, with "row", "image", "cause" and "reason"; the first 50 are listed.
      glances: some values of the entries that have no section of their own.

    Returns:
      The page, to be written as UTF-8.
    """
    parts = _parts(findings, images, quarantine, glances or {})
    headline = _headline(findings, title, images)
    links = [element("li", element("a", text, href=f"#{key}")) for key, text, _ in parts]
    body = element(
        "body",
        element("header", headline, element("nav", element("ul", links), aria_label="Sections")),
        element("main", [part for *_, part in parts]),
        element("footer", "Made by ", element("code", "mmcl prepare"), " from findings.json and the store beside it."),
    )
    return document(f"{clipped(title)}: data card", STYLE, body, images=True)


def _parts(
    findings: Findings,
    shown: Sequence[tuple[str, np.ndarray]],
    quarantine: Sequence[Mapping[str, Any]],
    glances: Mapping[str, Glance],
) -> list[tuple[str, str, Html]]:
    """Return the sections in order, as (key, text of the link, section)."""
    parts = [
        ("attention", "Attention", rows.attention(findings)),
        ("rows", "Rows", rows.rows(findings, quarantine)),
        ("entries", "Entries", entries.entries(findings, glances)),
        ("table", "Table", columns.features(findings)),
        ("left-out", "Left out", columns.left_out(findings)),
        ("labels", "Labels", labels.labels(findings)),
        ("splits", "Splits", labels.splits(findings)),
        ("images", "Images", contact_sheet(findings, shown)),
        ("forest", "Table alone", forest.forest(findings)),
        ("load", "Use it", _load(findings)),
    ]
    return [(key, text, part) for key, text, part in parts if part is not None]


def _headline(findings: Findings, title: str, shown: Sequence[tuple[str, np.ndarray]]) -> Html:
    features, targets = features_of(findings), labels_of(findings)
    others = [
        entry for entry in findings.entries if entry["name"] not in ("image", "table") and entry["role"] == "input"
    ]
    sentence: list[Child] = ["Images paired with ", counted(len(features), "table column")]
    if others:
        sentence = _listed([name(entry["name"], 40) for entry in findings.entries if entry["role"] == "input"])
    sentence += [" from ", name(findings.source)]
    if targets:
        sentence += [", with the label " if len(targets) == 1 else ", with the labels "]
        sentence += _listed([name(label.name, 40) for label in targets])
    tiles = [
        _tile("Rows kept", count(findings.kept), f"of {count(findings.rows)} ({share(findings.kept, findings.rows)})"),
        _tile("Table columns", count(len(features)), f"of {counted(len(findings.columns), 'raw column')}"),
        _tile("Warnings", count(len(findings.warnings)), "worst first, below" if findings.warnings else "none raised"),
    ]
    if "stored" in findings.images:
        dtype = next((entry["dtype"] for entry in findings.entries if entry["name"] == "image"), "uint8")
        tiles.append(_tile("Images stored", str(findings.images["stored"]).replace(" x ", "×"), dtype))
    if findings.splits:
        tiles.append(_splits_tile(findings))
    return fragment(
        element("p", "Data card", class_="eyebrow"),
        element("h1", name(title, 120)),
        element("p", sentence, ".", class_="headline"),
        strip(shown),
        element("dl", tiles, class_="tiles"),
    )


def _tile(what: str, value: str, more: str) -> Html:
    return element("div", element("dt", what), element("dd", element("b", value), element("small", more)))


def _splits_tile(findings: Findings) -> Html:
    parts = list(findings.splits.items())
    bar = charts.stacked(parts, label="Rows per split")
    keys = charts.legend([name(split), f" {count(rows)}"] for split, rows in parts)
    return element("div", element("dt", "Splits"), element("dd", bar, keys), class_="broad")


def _listed(names: list[Html], most: int = 6) -> list[Child]:
    shown: list[Child] = []
    for index, text in enumerate(names[:most]):
        shown += [", " if index else None, text]
    return [*shown, f" and {count(len(names) - most)} more"] if len(names) > most else shown


def _load(findings: Findings) -> Html:
    split = "train" if "train" in findings.splits else next(iter(findings.splits), "train")
    return section(
        "load",
        "Use it, and make it again",
        element("p", "The store that this page belongs to opens in Python:"),
        _code(_LOAD.format(split=split)),
        element("p", "or trains encoders:"),
        _code(_PRETRAIN),
        element(
            "p",
            "Programs find the content of this page in ",
            element("code", "findings.json"),
            ". The same ",
            element("code", "mmcl prepare"),
            " command on the same files makes the same store; its options are in ",
            element("code", "store.json"),
            ".",
        ),
    )


def _code(text: str) -> Html:
    # Line by line, because a line break inside a text would be escaped.
    lines: list[Child] = [fragment(line, Html("\n")) for line in text.splitlines()]
    return element("pre", element("code", lines))
