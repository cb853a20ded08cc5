"""Line charts as inline SVG, with a legend that names every line and its last value."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from mmcl_jax.page.charts import SERIES
from mmcl_jax.page.html import Child, Html, drawing, element
from mmcl_jax.page.html import name as named
from mmcl_jax.page.wording import clipped, number

DASHES = (None, "6 3", "2 3", "9 3 2 3")  # so that lines differ by more than their colour
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420.0, 230.0, 50.0, 12.0, 10.0, 26.0
_POINTS = 400  # of a line; of a longer one, runs of neighbouring points are averaged

LINE_STYLE = """
.chart { width: 100%; height: auto; max-width: 40rem; }
.chart text { fill: var(--soft); font: 12.5px system-ui, sans-serif; }
.rule { stroke: var(--line); stroke-width: 1px; }
.axis-line { stroke: var(--gap); stroke-width: 1px; }
.line { fill: none; stroke-linejoin: round; stroke-width: 2; }
.key { width: 1.875rem; height: .625rem; margin-right: .375rem; flex: none; }
.chart + .legend { margin-top: .5rem; font-size: .8125rem; color: var(--soft); }
.l0 { stroke: var(--s0); } .l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); } .l3 { stroke: var(--s3); }
.l4 { stroke: var(--s4); } .l5 { stroke: var(--s5); } .l6 { stroke: var(--s6); } .l7 { stroke: var(--s7); }
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
      name: for the legend.
      x: positions `[n]`, ascending.
      y: values `[n]`; points that are not finite are left out.
      colour: its number; lines of one method share it.
      dash: the number of its dash pattern.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dash: int = 0

    def points(self) -> np.ndarray:
        """Return the finite points `[m, 2]`, at most `_POINTS`; of more, each is the mean of neighbours."""
        points = np.array([self.x, self.y], np.float64).T.reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) <= _POINTS:
            return points
        return np.array([part.mean(axis=0) for part in np.array_split(points, _POINTS)])


def line_chart(heading: str, lines: Sequence[Line], *, x: str, level: str = "h3", legend: bool = True) -> Html | None:
    """Draw lines over a common axis.

    Args:
      heading: of the chart.
      lines: in the order of the legend; the first is drawn on top.
      x: what the horizontal axis counts, such as "step".
      level: the element of the heading.
      legend: whether to list the lines with their last values below the chart.

    Returns:
      The chart, or None if no line has a finite point.
    """
    drawn = [(line, points) for line in lines if len(points := line.points())]
    if not drawn:
        return None
    every = np.concatenate([points for _, points in drawn])
    (left, low), (right, high) = every.min(axis=0), every.max(axis=0)
    room = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room

    def across(value: float) -> float:
        span = right - left
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((value - left) / span if span > 0 else 0.5)

    def down(value: float) -> float:
        return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (high - value) / (high - low)

    parts: list[Child] = []
    for value, text in _marks(low, high):
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=down(value), y2=down(value), class_="rule"))
        parts.append(element("text", text, x=_LEFT - 7, y=down(value) + 4, text_anchor="end"))
    for value, text in _marks(left, right):
        parts.append(element("text", text, x=across(value), y=_HEIGHT - 8, text_anchor="middle"))
    for line, points in reversed(drawn):
        colour = line.colour % SERIES
        if len(points) == 1:
            (at,) = points
            parts.append(element("circle", cx=across(at[0]), cy=down(at[1]), r=4, class_=f"s{colour}"))
            continue
        path = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in points)
        dash = DASHES[line.dash % len(DASHES)]
        parts.append(element("polyline", points=path, class_=f"line l{colour}", stroke_dasharray=dash))
    last = "; ".join(f"{clipped(line.name)} ends at {number(float(points[-1, 1]))}" for line, points in drawn)
    svg = drawing(f"{heading} by {x}: {last}", parts, _WIDTH, _HEIGHT, class_="chart")
    keys = element("ul", [_key(line, points) for line, points in drawn], class_="legend") if legend else None
    return element("figure", element(level, heading), svg, keys)


def _key(line: Line, points: np.ndarray) -> Html:
    dash = DASHES[line.dash % len(DASHES)]
    stroke = element("line", x1=0, x2=30, y1=5, y2=5, class_=f"line l{line.colour % SERIES}", stroke_dasharray=dash)
    sample = element("svg", stroke, class_="key", viewBox="0 0 30 10", aria_hidden="true")
    return element("li", sample, element("span", named(line.name, 60), f" {number(float(points[-1, 1]))}"))


def _marks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round values between two ends, with as many digits as tell them apart."""
    if not high > low:
        return [(low, f"{low:g}")]
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    step, margin = float(ticks[1] - ticks[0]), 1e-9 * (high - low)
    digits = next((n for n in range(12) if abs(round(step, n) - step) < 1e-6 * step), 12)
    inside = [float(tick) for tick in ticks if low - margin <= tick <= high + margin]
    return [(tick, _written(tick, step, digits)) for tick in inside]


def _written(tick: float, step: float, digits: int) -> str:
    if step >= 1000:
        return f"{tick / 1000:g}k"
    return f"{tick:.3g}" if 0 < abs(tick) < 1e-3 else f"{tick:z.{digits}f}"
