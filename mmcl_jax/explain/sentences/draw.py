"""The pictures of the method `sentences`: a strip per row, and a page with the sentences beside their maps."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_jax.explain.base import Picture
from mmcl_jax.explain.pictures.overlays import overlay
from mmcl_jax.files import write_text
from mmcl_jax.page.html import Html, document, element, section
from mmcl_jax.page.inline import picture, png
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped, counted

PAGE = "sentences.html"
_GAP = 4  # pixels between the panels of a strip

SENTENCES_STYLE = """
.report { display: grid; grid-template-columns: minmax(9rem, 16rem) 1fr; gap: 1.5rem 2rem; align-items: start; }
.report ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 100%), 1fr)); gap: 1.25rem;
  padding: 0; margin: 0; list-style: none; }
header .lead { margin-top: .5rem; }
.report figure { margin: 0; min-width: 0; } .report img { display: block; width: 100%; height: auto;
  border-radius: .375rem; image-rendering: pixelated; }
.report figcaption { font-size: .8125rem; line-height: 1.4; margin-top: .375rem; }
@media (max-width: 36rem) { .report { grid-template-columns: 1fr; } }
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """An image and where sentences point in it.

    Attributes:
      key: of the row.
      view: the image `[h, w, C]` as the encoder sees it.
      maps: `[n, gh, gw]`, a map over the regions for each sentence.
      sentences: the index of each in the report; -1 for a phrase.
      texts: the sentences of the whole report, or the phrase; () if texts are not shown.
      cosine: whether the maps are cosines, or else weights whose sum is 1.
    """

    key: str
    view: np.ndarray
    maps: np.ndarray
    sentences: tuple[int, ...]
    texts: tuple[str, ...]
    cosine: bool

    def panels(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the image, and the map of each sentence over it, uint8 `[H, W, 3]`.

        Weights are shown as far as they are above equal weights, and cosines above their smallest. A map that is almost
        flat shows almost nothing: the full colour begins at twice the equal weight, and at a cosine 0.2 above.
        """
        plain = np.split(overlay(self.view, np.zeros(self.maps.shape[1:])), 2, axis=1)[0]
        drawn = []
        for one in self.maps:
            above = one - one.min() if self.cosine else above_equal(one)
            full = max(float(above.max()), 0.2 if self.cosine else 1.0)
            drawn.append(np.split(overlay(self.view, above, full=full), 2, axis=1)[1])
        return plain, drawn

    def words(self, sentence: int) -> str:
        """Return a sentence, or its number from 1 if texts are not shown."""
        if not self.texts:
            return f"Sentence {sentence + 1}"
        return self.texts[max(sentence, 0)]


def above_equal(weights: np.ndarray) -> np.ndarray:
    """Return by how many times the equal weight each of some weights is above it; 0 for those below.

    Example:
      >>> above_equal(np.array([0.5, 0.25, 0.25, 0.0])).tolist()
      [1.0, 0.0, 0.0, 0.0]
    """
    return np.maximum(weights * weights.size - 1, 0)


def write_pictures(folder: Path, rows: Sequence[Row], what: str, text: str) -> list[Picture]:
    """Write a strip for each row (the image, then the map of every sentence over it), and the page; return the strips.

    Args:
      folder: of the files.
      rows: with at least one map each.
      what: the maps are, in words.
      text: the phrase; "" for sentences.
    """
    pictures, sections = [], []
    for number, row in enumerate(rows, 1):
        plain, maps = row.panels()
        file = f"overlay-{number:0{len(str(len(rows)))}d}.png"
        gap = np.full((len(plain), _GAP, 3), 255, np.uint8)
        strip = [part for panel in (plain, *maps) for part in (panel, gap)][:-1]
        Image.fromarray(np.concatenate(strip, axis=1)).save(folder / file)
        said = ", ".join(f"“{clipped(row.words(one), 120)}”" for one in row.sentences) if row.texts else ""
        about = "where the phrase points" if text else f"where its {counted(len(maps), 'sentence')} point"
        pictures.append(Picture(file, f"{clipped(row.key, 40)}: the image, then {about}{f': {said}' if said else ''}."))
        sections.append(_section(row, plain, maps, number))
    heading = "Where a phrase points" if text else "Where sentences point"
    phrase = f"The phrase is “{clipped(text, 120)}”. " if text else ""
    lead = f"{phrase}The colour is {what}, from blue to red; without colour a map is flat or below."
    body = element(
        "body",
        element(
            "header",
            element("p", "Explanation", class_="eyebrow"),
            element("h1", heading),
            element("p", lead, class_="lead"),
        ),
        element("main", sections),
    )
    write_text(folder / PAGE, document(heading, STYLE + SENTENCES_STYLE, body, images=True))
    return pictures


def _section(row: Row, plain: np.ndarray, maps: Sequence[np.ndarray], number: int) -> Html:
    items = [
        element(
            "li",
            element(
                "figure",
                picture(png(panel), f"The map of {_called(sentence)} over the image."),
                element("figcaption", row.words(sentence)),
            ),
        )
        for sentence, panel in zip(row.sentences, maps, strict=True)
    ]
    image = element("figure", picture(png(plain), "The image."), element("figcaption", "The image"))
    return section(f"row-{number}", clipped(row.key, 60), element("div", image, element("ol", items), class_="report"))


def _called(sentence: int) -> str:
    return "the phrase" if sentence < 0 else f"sentence {sentence + 1}"
