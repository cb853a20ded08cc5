"""Manhattan and quantile plots as inline SVG, which hold as many points as can be told apart and no more."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.gwas.chromosomes import in_order, plain_chromosome
from mmcl_jax.page.html import Child, Html, drawing, element
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.page.wording import number

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000.0, 320.0, 44.0, 8.0, 10.0, 34.0
_STEP = 1.5  # points nearer than this are one
_QUANTILES, _RINGS = 300, 200

PLOT_STYLE = """
.manhattan { width: 100%; height: auto; }
.manhattan text { fill: var(--soft); font: 12.5px system-ui, sans-serif; }
.points { fill: none; stroke-width: 3.2px; stroke-linecap: round; }
.threshold { stroke: var(--alarm); stroke-width: 1.2px; stroke-dasharray: 5 4; }
.top { fill: none; stroke: var(--alarm); stroke-width: 1.6px; }
"""


def manhattan(
    chromosome: np.ndarray,
    position: np.ndarray,
    value: np.ndarray,
    *,
    threshold: float,
    index: Sequence[int] = (),
) -> Html | None:
    """Draw -log10 p over the genome, with a line at the threshold and rings around index variants.

    Args:
      chromosome: of the variants, `[V]`.
      position: in base pairs, `[V]`.
      value: -log10 p, `[V]`; variants with NaN are left out.
      threshold: -log10 of the p-value of the line.
      index: index variants.

    Returns:
      The plot, or None if no variant was tested.
    """
    tested = np.isfinite(value)
    if not tested.any():
        return None
    names = in_order(chromosome[tested].tolist())
    most = max(float(value[tested].max()), threshold) * 1.05
    across, middles, start = np.full(len(value), np.nan), [], 0.0
    ends = [max(int(position[tested & (chromosome == name)].max()), 1) for name in names]
    room = 0.004 * sum(ends)
    scale = (_WIDTH - _LEFT - _RIGHT) / (sum(ends) + room * len(ends))
    for name, end in zip(names, ends, strict=True):
        own = chromosome == name
        across[own] = _LEFT + scale * (start + np.maximum(position[own], 0))
        middles.append((_LEFT + scale * (start + end / 2), scale * end, plain_chromosome(name)))
        start += end + room

    def down(of: np.ndarray | float) -> np.ndarray:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * np.asarray(of) / most

    parts: list[Child] = []
    for mark in np.linspace(0, most, 5)[:-1].round(0 if most > 8 else 1).tolist():
        height = float(down(mark))
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height, y2=height, class_="rule"))
        parts.append(element("text", number(mark), x=_LEFT - 7, y=height + 4, text_anchor="end"))
    for turn, name in enumerate(names):
        own = tested & (chromosome == name)
        cells = np.unique(np.stack([across[own] / _STEP, down(value[own]) / _STEP], axis=1).round(), axis=0) * _STEP
        path = "".join(f"M{x:g} {y:g}h0" for x, y in cells.tolist())
        parts.append(element("path", d=path, class_=f"points l{turn % 2}"))
    last = -1.0
    for middle, width, text in middles:
        if width > 9 and middle - last > 18:
            parts.append(element("text", text, x=middle, y=_HEIGHT - 14, text_anchor="middle"))
            last = middle
    height = float(down(threshold))
    parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height, y2=height, class_="threshold"))
    rings = list(index)[:_RINGS]
    parts += [element("circle", cx=float(across[one]), cy=float(down(value[one])), r=5, class_="top") for one in rings]
    title = (
        f"-log10 p of {int(tested.sum()):,} variants by chromosome; the largest is {number(float(value[tested].max()))}"
    )
    return drawing(title, parts, _WIDTH, _HEIGHT, class_="manhattan")


def quantiles(name: str, value: np.ndarray, *, colour: int = 0, dash: int = 0) -> Line:
    """Return the line of a quantile plot: -log10 p of `value` over what it would be without any association."""
    ordered = np.sort(value[np.isfinite(value)])[::-1]
    count = len(ordered)
    if not count:
        return Line(name, (), ())
    ranks = np.unique(np.geomspace(1, count, _QUANTILES).round().astype(int))[::-1]
    expected = -np.log10((ranks - 0.5) / count)
    return Line(name, expected.tolist(), ordered[ranks - 1].tolist(), colour, dash)


def quantile_plot(heading: str, lines: Sequence[Line]) -> Html | None:
    """Draw quantile lines, with the diagonal on which all values lie if nothing is associated."""
    ends = [line.x[-1] for line in lines if len(line.x)]
    if not ends:
        return None
    diagonal = Line("expected", (0.0, max(ends)), (0.0, max(ends)), 7, 1)
    return line_chart(heading, [*lines, diagonal], x="expected -log10 p")
