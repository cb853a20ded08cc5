"""The page of a comparison: every measure as an image per split, and its pairs beside their permutations."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.evaluation.similarity.compare import Comparing, Matrix
from mmcl_jax.page.html import Child, Html, document, element, fragment, section, table
from mmcl_jax.page.html import name as named
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import count, counted
from mmcl_jax.report.similarity.plots import SIMILARITY_STYLE, picture

_PAIRS = 60

WORDS = {
    "cka": ("Linear CKA", "It is dominated by the directions with the largest variance."),
    "cka_debiased": ("Linear CKA, debiased", "It is 0 on average for unrelated rows, and may be negative."),
    "cca": ("CCA", "The mean canonical correlation, in which a direction counts whatever its variance."),
    "svcca_anatome": ("SVCCA (anatome)", "CCA of the singular directions below 99 % of the singular values."),
    "svcca_google": ("SVCCA (Google)", "CCA of the centred singular directions up to 99 % of the singular values."),
    "pwcca_morcos": ("PWCCA (Morcos et al.)", "Canonical correlations, weighted by the features of the row."),
    "pwcca_google": ("PWCCA (Google)", "Canonical correlations, weighted as Google's code does."),
    "pwcca_anatome": ("PWCCA (anatome)", "Canonical correlations, weighted as anatome does, by the row's features."),
    "procrustes": ("Procrustes", "The similarity after the best rotation."),
    "kernel_cka": ("RBF CKA", "It compares which rows are neighbours."),
    "kernel_cka_debiased": ("RBF CKA, debiased", "It compares which rows are neighbours, and is 0 if unrelated."),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the page shows.

    Attributes:
      names: of the representations.
      found: their matrices, by split and then by measure.
      settings: of the comparison.
      command: that made it.
    """

    names: Sequence[str]
    found: Sequence[Matrix]
    settings: Comparing
    command: str


def render_page(comparison: Comparison) -> str:
    """Return the page, which needs no network and no script; write it as UTF-8."""
    measures = comparison.settings.measures
    links = [element("li", element("a", WORDS[name][0], href=f"#{name}")) for name in measures]
    body = element(
        "body",
        element(
            "header",
            element("p", "Similarity of representations", class_="eyebrow"),
            element("h1", counted(len(comparison.names), "representation")),
            element("dl", _tiles(comparison), class_="tiles"),
            element("nav", element("ul", links), aria_label="Sections"),
        ),
        element("main", [_measure(comparison, name) for name in measures]),
        element("footer", "Made by ", element("code", comparison.command), "."),
    )
    return document("Similarity of representations", STYLE + SIMILARITY_STYLE, body, images=False)


def _tiles(comparison: Comparison) -> list[Html]:
    rows = {matrix.split: matrix.rows for matrix in comparison.found}
    tiles = [(f"Rows of {split}", count(number), "the same for all") for split, number in rows.items()]
    permutations = comparison.settings.permutations
    tiles.append(("Permutations", count(permutations), "of the rows, per pair" if permutations else "none"))
    return [
        element("div", element("dt", name), element("dd", element("b", value), element("small", words)))
        for name, value, words in tiles
    ]


def _measure(comparison: Comparison, measure: str) -> Html:
    heading, words = WORDS[measure]
    found = [matrix for matrix in comparison.found if matrix.measure == measure]
    lead = f"{words} 1 is the same up to what the measure allows."
    if comparison.settings.permutations:
        lead += (
            " Compare a value with those of permutations: unrelated features reach them, and the fewer rows there are "
            "for each feature, the higher they are."
        )
    parts: list[Child] = [element("p", lead, class_="lead")]
    for matrix in found:
        title = f"{heading} on {matrix.split}"
        parts += [element("h3", title), picture(title, comparison.names, matrix.value)]
    parts.append(_pairs(comparison, heading, found))
    return section(measure, heading, parts)


def _pairs(comparison: Comparison, heading: str, found: Sequence[Matrix]) -> Html:
    """Return a row per pair, with its value on every split beside what permutations reach there."""
    nulls = comparison.settings.permutations > 0
    head = ["Pair"]
    for matrix in found:
        head.append(f"On {matrix.split}")
        head += ["Permuted: mean", "95th percentile", "Share at or above"] if nulls else []
    both = any(not np.array_equal(matrix.value, matrix.value.T) for matrix in found)
    size = len(comparison.names)
    pairs = [(i, j) for i in range(size) for j in range(size) if i < j or (both and i > j)]
    rows: list[list[Child]] = []
    for i, j in pairs[:_PAIRS]:
        cells: list[Child] = [fragment(named(comparison.names[i], 40), " – ", named(comparison.names[j], 40))]
        for matrix in found:
            cells.append(f"{matrix.value[i, j]:.3f}")
            if nulls:
                cells += [f"{matrix.mean[i, j]:.3f}", f"{matrix.high[i, j]:.3f}", f"{matrix.at_or_above[i, j]:.2f}"]
        rows.append(cells)
    more = len(pairs) - _PAIRS
    return fragment(
        element("div", table(f"Pairs by {heading}", head, rows, numeric=range(1, len(head))), class_="pairs"),
        element("p", f"{counted(more, 'more pair')} in similarity.tsv.", class_="more") if more > 0 else None,
    )
