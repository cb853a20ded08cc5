"""What the page of an analysis draws: where regions get their weight, and maps of embeddings in two dimensions."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.evaluation.alignment.agreement import Smoothness
from mmcl_jax.explain.pictures.overlays import overlay
from mmcl_jax.explain.sentences.draw import above_equal
from mmcl_jax.page.charts import SERIES
from mmcl_jax.page.html import Child, Html, drawing, element
from mmcl_jax.page.inline import picture, png
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.report.sections.map import in_two_dimensions

_SIDE, _MARGIN, _RADIUS = 480.0, 12.0, 3.0
_ARM, _LONG = 3.6, 7.2  # of a cross

ALIGNMENT_STYLE = """
.cross { stroke-width: 1.5px; fill: none; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(21rem, 100%), 1fr)); gap: 2rem 2.5rem;
  align-items: start; margin: 1rem 0; }
.figures > * { min-width: 0; } .figures h3 { margin-bottom: .5rem; } .figures .calm { margin-top: .5rem; }
header .calm { margin-top: 1rem; }
.figures img { display: block; width: 100%; max-width: 34rem; height: auto; border-radius: .5rem; }
.scores table { font-size: .875rem; }
"""


def region_map(mean_image: np.ndarray, weights: np.ndarray, grid: tuple[int, ...]) -> Html:
    """Draw the mean image `[h, w, C]`, and the mean weights `[L]` of its regions over it."""
    square = weights.reshape(grid)
    most = np.unravel_index(int(square.argmax()), square.shape)
    above = above_equal(square)
    words = (
        f"Left the mean of the images, right how far the mean weight of each of {grid[0]} x {grid[1]} regions is above "
        f"equal weights ({1 / square.size:.3f}). The largest, {square.max():.3f}, is that of row {most[0] + 1}, column "
        f"{most[1] + 1}; the full colour begins at twice the equal weight."
    )
    return element(
        "figure",
        element("h3", "Weights of the regions"),
        picture(png(overlay(mean_image, above, full=max(float(above.max()), 1.0))), words),
        element("p", words, class_="calm"),
    )


def smoothness_chart(smooth: Smoothness) -> Html | None:
    """Draw the cosine of two regions of an image by their distance on the grid, with the percentiles 5 and 95."""
    x = [float(value) for value in smooth.distances]
    lines = [
        Line("mean", x, [float(value) for value in smooth.means]),
        Line("95th percentile", x, [float(value) for value in smooth.high], colour=1, dash=1),
        Line("5th percentile", x, [float(value) for value in smooth.low], colour=2, dash=2),
    ]
    chart = line_chart("Cosine of two regions of an image", lines, x="distance in regions")
    words = "By the distance of the two on the grid, in regions. The legend has the values at the largest."
    return None if chart is None else element("div", chart, element("p", words, class_="calm"))


def two_kinds(heading: str, dots: np.ndarray, crosses: np.ndarray, of: Sequence[int], words: str) -> Html:
    """Draw vectors of two kinds in two dimensions by t-SNE: dots and crosses, in the colour of their row.

    Args:
      heading: of the map.
      dots: `[n, d]`.
      crosses: `[m, d]`.
      of: the row `[n + m]` of each, dots first.
      words: what dots and crosses are.
    """
    places = in_two_dimensions(np.concatenate([dots, crosses]))
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / float(max(np.max(high - low), 1e-12))
    at = _SIDE / 2 + scale * (places - (low + high) / 2)  # in the middle of the square
    marks: list[Child] = []
    for index, (x, y) in enumerate(at):
        colour = of[index] % SERIES
        if index < len(dots):
            marks.append(element("circle", cx=float(x), cy=float(y), r=_RADIUS, class_=f"dot s{colour}"))
        else:
            path = f"M{x - _ARM:.1f} {y - _ARM:.1f}l{_LONG:g} {_LONG:g}m0 {-_LONG:g}l{-_LONG:g} {_LONG:g}"
            marks.append(element("path", d=path, class_=f"cross l{colour}"))
    return element(
        "figure",
        element("h3", heading),
        drawing(f"{heading}: {words}", marks, _SIDE, _SIDE, class_="map"),
        element("p", words, class_="calm"),
    )
