"""The page of an analysis: tables of scores beside chance, weights over the mean image, and maps of embeddings."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.evaluation.alignment.analyse import Analysis
from mmcl_jax.evaluation.alignment.spread import unit_length
from mmcl_jax.page.html import Child, Html, document, element, fragment, name, section, table
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import count, counted
from mmcl_jax.report.alignment.plots import ALIGNMENT_STYLE, region_map, smoothness_chart, two_kinds
from mmcl_jax.report.style import REPORT_STYLE

_LOCAL = 1000  # points of the map of regions, at most
_LOCAL_ROWS = 16
_FEWEST = 8  # points of a map

PARTS = {
    "spread": (
        "Spread of the embeddings",
        "Of embeddings of length 1. The standard deviation is the mean over channels; multiplied by the root of the "
        "width it is 1 for vectors spread evenly, and 0 if all are the same. A small ratio of centroids over within "
        "means that regions differ inside an image in the same way in every image: the image as a whole has collapsed.",
    ),
    "agreement": (
        "Distances of pairs",
        "Of embeddings of length 1: 0 is the same, 1.41 unrelated. The RMSE is that of local embeddings from what the "
        "alignment reads for them in the other modality.",
    ),
    "retrieval": (
        "Retrieval",
        "How often the own row is the nearest, or among the nearest five. Within a row, each local embedding looks for "
        "what the alignment reads for it among those of all its positions. Ties count against the method.",
    ),
    "attention": ("Entropy of attention", "In nats. By chance stands the entropy of equal weights."),
    "prompts": (
        "Labels by pairs of prompts",
        "The cosine of an image with a prompt minus that with the prompt of absence tells the label without training. "
        "The precision is that of the images nearest to a prompt; negated, of those nearest to the prompt of absence, "
        "which should not have the finding.",
    ),
    "pointing": (
        "Pointing at findings",
        "Whether the region that a sentence attends to, or is most like, lies in the finding that it names. By chance "
        "stands the share of the regions that lie in the box. CNR and mIoU are those of the map over regions.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the page shows.

    Attributes:
      about: what `alignment.json` says.
      found: the analysis.
      map_rows: most rows of the maps in two dimensions; 0 for none.
      seed: of the rows that they show.
    """

    about: Mapping[str, Any]
    found: Analysis
    map_rows: int
    seed: int


def render_page(shown: Shown) -> str:
    """Return the page, which needs no network and no script; write it as UTF-8. It shows no text of reports."""
    about = shown.about
    parts = [key for key in PARTS if any(score["part"] == key for score in about["scores"])]
    sections = [(key, PARTS[key][0], _scores(key, about["scores"])) for key in parts]
    figures = _figures(shown)
    if figures:
        sections.insert(1, ("figures", "Regions and maps", section("figures", "Regions and maps", figures)))
    links = [element("li", element("a", heading, href=f"#{key}")) for key, heading, _ in sections]
    body = element(
        "body",
        element(
            "header",
            element("p", "Alignment of images and reports", class_="eyebrow"),
            element("h1", name(str(about["run"]).rpartition("/")[2], 60)),
            element("dl", _tiles(about), class_="tiles"),
            element("ul", [element("li", note) for note in about["notes"]], class_="calm") if about["notes"] else None,
            element("nav", element("ul", links), aria_label="Sections"),
        ),
        element("main", [content for *_, content in sections]),
        element("footer", "Made by ", element("code", about["command"]), "."),
    )
    return document("Alignment of images and reports", STYLE + REPORT_STYLE + ALIGNMENT_STYLE, body, images=True)


def _tiles(about: Mapping[str, Any]) -> list[Html]:
    tiles = [
        (f"Rows of {about['split']}", count(about["rows"]), "that have everything"),
        ("Inputs", " and ".join(about["inputs"]), "aligned by a term" if about["aligned"] else "not aligned by a term"),
        ("Step", count(about["step"]), "of the training"),
    ]
    return [
        element("div", element("dt", key), element("dd", element("b", value), element("small", words)))
        for key, value, words in tiles
    ]


def _scores(part: str, scores: Sequence[Mapping[str, Any]]) -> Html:
    heading, words = PARTS[part]
    own = [score for score in scores if score["part"] == part]
    every = [score for score in own if not score["column"]]
    by_group = [score for score in own if score["column"]]
    parts: list[Child] = [element("p", words, class_="lead"), _table(heading, every)]
    if by_group:
        title = f"{heading} by subgroup"
        parts.append(element("details", element("summary", "By subgroup"), _table(title, by_group, grouped=True)))
    return section(part, heading, element("div", parts, class_="scores"))


def _table(caption: str, scores: Sequence[Mapping[str, Any]], *, grouped: bool = False) -> Html:
    intervals = any(score["low"] is not None for score in scores)
    chances = any(score["chance"] is not None for score in scores)
    head = ["Of", *(["Subgroup"] if grouped else []), "Measure", "Value"]
    numeric = [len(head) - 1]
    head += [*(["95 % interval"] if intervals else []), *(["By chance"] if chances else []), "Rows"]
    numeric += range(numeric[0] + 1, len(head))
    rows: list[list[Child]] = []
    for score in scores:
        cells: list[Child] = [name(score["of"], 60)]
        cells += [fragment(name(score["column"], 30), ": ", name(score["group"], 30))] if grouped else []
        cells += [score["measure"], _number(score["value"])]
        if intervals:
            both = score["low"], score["high"]
            cells.append("" if None in both else f"{_number(both[0])} to {_number(both[1])}")
        if chances:
            cells.append("" if score["chance"] is None else _number(score["chance"]))
        rows.append([*cells, count(score["rows"])])
    return table(caption, head, rows, numeric=numeric)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:z.3f}"


def _figures(shown: Shown) -> Html | None:
    found, figures = shown.found, list[Html | None]()
    image = next((side for side in found.sides if side.kind == "image"), None)
    if image is not None and found.weights is not None and found.picture is not None:
        figures.append(region_map(found.picture, found.weights, image.grid))
    if found.smoothness is not None:
        figures.append(smoothness_chart(found.smoothness))
    figures += _maps(shown)
    drawn = [figure for figure in figures if figure is not None]
    return element("div", drawn, class_="figures") if drawn else None


def _maps(shown: Shown) -> list[Html]:
    """Return the map of pairs, and that of regions with what the alignment reads for them."""
    found = shown.found
    if len(found.sides) < 2 or shown.map_rows < _FEWEST:
        return []
    image, report = found.sides
    rows = np.random.default_rng([shown.seed, 1]).permutation(len(found.rows))[: shown.map_rows]
    maps = []
    if image.projected is not None and report.projected is not None and len(rows) >= _FEWEST:
        first, second = unit_length(image.projected[rows]), unit_length(report.projected[rows])
        words = f"t-SNE of {counted(len(rows), 'row')}. Dots are images, crosses reports, in the colour of their row."
        order = [*range(len(rows)), *range(len(rows))]
        maps.append(two_kinds("Images and reports", first, second, order, words))
    if found.attended is not None and image.regions is not None:
        few = rows[: max(1, min(_LOCAL_ROWS, _LOCAL // (2 * image.regions.shape[1])))]
        regions = unit_length(image.regions[few]).reshape(-1, image.regions.shape[2])
        read = unit_length(found.attended.image[few]).reshape(-1, image.regions.shape[2])
        order = [*np.repeat(np.arange(len(few)), image.regions.shape[1]).tolist()] * 2
        words = (
            f"t-SNE of the regions of {counted(len(few), 'image')}. Dots are regions, crosses what the alignment reads "
            "for them in the report, in the colour of their image."
        )
        maps.append(two_kinds("Regions and what they read", regions, read, order, words))
    return maps
