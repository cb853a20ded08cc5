"""Curves over the share of labels, as inline SVG."""

import math
from collections.abc import Sequence

from mmcl_jax.page.charts import SERIES
from mmcl_jax.page.html import Child, Html, element
from mmcl_jax.reproduce.grid import Spread
from mmcl_jax.reproduce.outcome import TableOutcome, plus_minus
from mmcl_jax.reproduce.page.axis import ends, marks
from mmcl_jax.reproduce.tables.spec import TableColumn, TableRow

_DASHES = (None, "7 3", "2 3", "9 3 2 3")  # so that no line is told by its colour alone
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420.0, 260.0, 44.0, 34.0, 10.0


def curves(outcome: TableOutcome, columns: Sequence[TableColumn], heading: str) -> Html | None:
    """Draw percent over the share of labels, a line per row with all columns, bars of one standard deviation."""
    columns = sorted(columns, key=lambda column: column.share)
    # By place among all rows, so that a method looks the same in every chart.
    lines = [
        (place, row, points)
        for place, row in enumerate(outcome.plan.rows)
        if (points := _points(outcome, row, columns))
    ]
    if not lines:
        return None
    sides = [one.mean + sign * _sd(one) for *_, points in lines for one in points for sign in (-1, 1)]
    low, high = ends(sides)
    panel = _Panel(low, high, len(columns))
    drawn: list[Child] = []
    for value in marks(low, high):
        drawn.append(element("line", x1=_LEFT, x2=_WIDTH, y1=panel.down(value), y2=panel.down(value), class_="rule"))
        drawn.append(element("text", f"{value:g}", x=_LEFT - 8, y=panel.down(value) + 4, text_anchor="end"))
    for place, column in enumerate(columns):
        text = f"{100 * column.share:g} %"
        drawn.append(element("text", text, x=panel.across(place), y=_HEIGHT - 12, text_anchor="middle"))
    # The reference row last, over the others; each a little aside, so that bars do not hide one another.
    for place, row, points in sorted(lines, key=lambda line: line[1].key == outcome.plan.table.reference):
        width = 3.5 if row.key == outcome.plan.table.reference else 2.0
        drawn.append(
            panel.line(row, points, place, aside=4.0 * (place - (len(outcome.plan.rows) - 1) / 2), width=width)
        )
    picture = element(
        "svg",
        element("title", f"{heading}, by share of labels"),
        drawn,
        class_="curves",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
    )
    return element("figure", element("h3", heading), picture, _keys([(place, row.label) for place, row, _ in lines]))


class _Panel:
    """Where things are drawn."""

    def __init__(self, low: float, high: float, places: int) -> None:
        self._low, self._high, self._places = low, high, places

    def down(self, value: float) -> float:
        return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (self._high - value) / (self._high - self._low)

    def across(self, place: int) -> float:
        return _LEFT + 28 + (_WIDTH - _LEFT - 56) * place / max(self._places - 1, 1)

    def line(self, row: TableRow, points: Sequence[Spread], place: int, *, aside: float, width: float) -> Html:
        """Draw a row: line, bars and dots."""
        series, colour = f"line l{place % SERIES}", f"s{place % SERIES}"
        at = [(self.across(x) + aside, one) for x, one in enumerate(points)]
        path = " ".join(f"{x:.1f},{self.down(one.mean):.1f}" for x, one in at)
        bars = [
            element("line", x1=x, x2=x, y1=self.down(one.mean - _sd(one)), y2=self.down(one.mean + _sd(one)),
                    class_=series, stroke_width=1.5)
            for x, one in at
        ]  # fmt: skip
        dots = [
            element("circle", element("title", f"{row.label}: {plus_minus(one)}"), cx=x, cy=self.down(one.mean), r=3.5,
                    class_=colour)
            for x, one in at
        ]  # fmt: skip
        dash = _DASHES[place % len(_DASHES)]
        return element(
            "g",
            element("polyline", points=path, class_=series, stroke_width=width, stroke_dasharray=dash),
            bars,
            dots,
        )


def _keys(labels: Sequence[tuple[int, str]]) -> Html:
    """Return the legend: each line with its meaning."""
    keys = []
    for place, label in labels:
        dash = _DASHES[place % len(_DASHES)]
        line = element(
            "line", x1=0, x2=30, y1=5, y2=5, class_=f"line l{place % SERIES}", stroke_width=2.5, stroke_dasharray=dash
        )
        sample = element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")
        keys.append(element("li", sample, element("span", label)))
    return element("ul", keys, class_="legend")


def _points(outcome: TableOutcome, row: TableRow, columns: Sequence[TableColumn]) -> list[Spread]:
    """Return the row's cells in these columns; none if one is missing or diverged."""
    spreads = [outcome.spread(row, column) for column in columns]
    points = [one for one in spreads if one is not None and math.isfinite(one.mean)]
    return points if len(points) == len(columns) else []


def _sd(one: Spread) -> float:
    return 0.0 if math.isnan(one.sd) else one.sd
