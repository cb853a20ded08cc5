"""The charts of the page as inline SVG: every seed of a column as a tick, or curves over the share of labels."""

import math
from collections.abc import Sequence

from mmcl_jax.page.charts import SERIES
from mmcl_jax.page.html import Child, Html, drawing, element
from mmcl_jax.reproduce.grid import Repeat, Spread
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.outcome import TableOutcome, plus_minus
from mmcl_jax.reproduce.spec import Published, TableColumn, TableRow

_DASHES = (None, "7 3", "2 3", "9 3 2 3")  # so that lines differ by more than their colour
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420.0, 260.0, 44.0, 34.0, 10.0


def strips(outcome: TableOutcome, column: TableColumn) -> Html | None:
    """Draw one axis per row: a thin tick per seed, a thick tick at their mean, a dashed tick at the published mean.

    Published means are drawn only if they are of our data. All axes have the same ends, which are written below them.
    """
    rows = [row for row in outcome.plan.rows if any(map(math.isfinite, _values(outcome, row, column).values()))]
    if not rows:
        return None
    measure = outcome.measure(column)
    shown = [value for row in rows for value in _values(outcome, row, column).values()]
    shown += [paper.mean for row in rows if (paper := _paper(outcome, row, column)) and paper.mean is not None]
    low, high = ends(list(filter(math.isfinite, shown)))

    def tick(value: float, kind: str, tip: str) -> Html | None:
        if not math.isfinite(value):
            return None
        x = 100 * (value - low) / (high - low)
        return element("line", element("title", tip), x1=x, x2=x, y1=0, y2=1, class_=kind)

    lines = []
    for row in rows:
        spread, paper = outcome.spread(row, column), _paper(outcome, row, column)
        reference = row.key == outcome.plan.table.reference
        ticks = [tick(value, "tick", named(repeat)) for repeat, value in _values(outcome, row, column).items()]
        if spread is not None:
            ticks.append(tick(spread.mean, "mean lead-mean" if reference else "mean", "mean"))
        if paper is not None and paper.mean is not None:
            ticks.append(tick(paper.mean, "paper-mean", f"published: {paper}"))
        axis = element("svg", ticks, class_="axis", viewBox="0 0 100 1", preserveAspectRatio="none", aria_hidden="true")
        name = element("strong" if reference else "span", row.label)
        lines.append(element("li", name, element("span", outcome.written(row, column), class_="number"), axis))
    scale = element("div", element("span", measure.tick(low)), element("span", measure.tick(high)), class_="ends")
    return element("div", element("h3", column.heading), element("ul", lines, class_="bars"), scale)


def _values(outcome: TableOutcome, row: TableRow, column: TableColumn) -> dict[Repeat, float]:
    cell = outcome.cells.get((row.key, column.key))
    return dict(cell.values) if cell else {}


def named(repeat: Repeat) -> str:
    """Return the name of a repeat, such as "seed 0" or "seed 0, fold 2"."""
    return f"seed {repeat[0]}, fold {repeat[1]}" if isinstance(repeat, tuple) else f"seed {repeat}"


def _paper(outcome: TableOutcome, row: TableRow, column: TableColumn) -> Published | None:
    return outcome.published(row, column) if outcome.own_target else None


def curves(outcome: TableOutcome, columns: Sequence[TableColumn], heading: str) -> Html | None:
    """Draw the metric over the share of labels, or of what is hidden, for the rows that have all of these columns.

    A bar is one standard deviation.
    """
    hides = any(column.hidden[1] for column in columns)

    def x(column: TableColumn) -> float:
        return column.hidden[1] if hides else column.share

    columns = sorted(columns, key=x)
    # The index among all rows decides the colour, so that a method looks the same in every chart.
    lines = [
        (index, row, points)
        for index, row in enumerate(outcome.plan.rows)
        if (points := _points(outcome, row, columns))
    ]
    if not lines:
        return None
    ends_of_bars = [one.mean + sign * _sd(one) for *_, points in lines for one in points for sign in (-1, 1)]
    low, high = ends(ends_of_bars)
    panel = _Panel(low, high, len(columns), outcome.measure(columns[0]))
    drawn: list[Child] = []
    for value in marks(low, high):
        drawn.append(element("line", x1=_LEFT, x2=_WIDTH, y1=panel.down(value), y2=panel.down(value), class_="rule"))
        drawn.append(element("text", f"{value:g}", x=_LEFT - 8, y=panel.down(value) + 4, text_anchor="end"))
    for index, column in enumerate(columns):
        text = f"{100 * x(column):g} %"
        drawn.append(element("text", text, x=panel.across(index), y=_HEIGHT - 12, text_anchor="middle"))
    # The reference row is drawn last, on top. Lines are shifted a little, so that bars do not hide one another.
    for index, row, points in sorted(lines, key=lambda line: line[1].key == outcome.plan.table.reference):
        width = 3.5 if row.key == outcome.plan.table.reference else 2.0
        drawn.append(
            panel.line(row, points, index, shift=4.0 * (index - (len(outcome.plan.rows) - 1) / 2), width=width)
        )
    svg = drawing(f"{heading}, by share {'hidden' if hides else 'of labels'}", drawn, _WIDTH, _HEIGHT, class_="curves")
    return element("figure", element("h3", heading), svg, _keys([(index, row.label) for index, row, _ in lines]))


class _Panel:
    """The coordinates of a chart: the metric runs up, the shares of labels run across."""

    def __init__(self, low: float, high: float, columns: int, measure: Measure) -> None:
        self._low, self._high, self._columns, self._measure = low, high, columns, measure

    def down(self, value: float) -> float:
        return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (self._high - value) / (self._high - self._low)

    def across(self, index: int) -> float:
        return _LEFT + 28 + (_WIDTH - _LEFT - 56) * index / max(self._columns - 1, 1)

    def line(self, row: TableRow, points: Sequence[Spread], index: int, *, shift: float, width: float) -> Html:
        """Draw a row: its line, bars and dots."""
        series, colour = f"line l{index % SERIES}", f"s{index % SERIES}"
        at = [(self.across(column) + shift, point) for column, point in enumerate(points)]
        path = " ".join(f"{x:.1f},{self.down(point.mean):.1f}" for x, point in at)
        bars = [
            element("line", x1=x, x2=x, y1=self.down(point.mean - _sd(point)),
                    y2=self.down(point.mean + _sd(point)), class_=series, stroke_width=1.5)
            for x, point in at
        ]  # fmt: skip
        dots = [
            element("circle", element("title", f"{row.label}: {plus_minus(point, self._measure)}"), cx=x,
                    cy=self.down(point.mean), r=3.5, class_=colour)
            for x, point in at
        ]  # fmt: skip
        dash = _DASHES[index % len(_DASHES)]
        return element(
            "g",
            element("polyline", points=path, class_=series, stroke_width=width, stroke_dasharray=dash),
            bars,
            dots,
        )


def _keys(labels: Sequence[tuple[int, str]]) -> Html:
    """Return the legend: each line with its method."""
    keys = []
    for index, label in labels:
        dash = _DASHES[index % len(_DASHES)]
        line = element(
            "line", x1=0, x2=30, y1=5, y2=5, class_=f"line l{index % SERIES}", stroke_width=2.5, stroke_dasharray=dash
        )
        sample = element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")
        keys.append(element("li", sample, element("span", label)))
    return element("ul", keys, class_="legend")


def _points(outcome: TableOutcome, row: TableRow, columns: Sequence[TableColumn]) -> list[Spread]:
    """Return the row's spreads in these columns; [] if one is missing or diverged."""
    spreads = [outcome.spread(row, column) for column in columns]
    points = [one for one in spreads if one is not None and math.isfinite(one.mean)]
    return points if len(points) == len(columns) else []


def _sd(one: Spread) -> float:
    return 0.0 if math.isnan(one.sd) else one.sd


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Return round ends of an axis with some room around the values.

    Example:
      >>> ends([91.2, 93.0])
      (91.0, 93.2)
    """
    low, high = min(values), max(values)
    room = max(0.05 * (high - low), 0.05)
    step = _step(high - low + 2 * room)
    return _tidy(step * math.floor((low - room) / step)), _tidy(step * math.ceil((high + room) / step))


def marks(low: float, high: float) -> list[float]:
    """Return round values from one end to the other."""
    step = _step(high - low)
    first = math.ceil(low / step - 1e-9)
    return [_tidy(step * number) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _step(span: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that divides the span into at most ten steps."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(power * step for step in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (power * step) <= 10)


def _tidy(value: float) -> float:
    return round(value, 6)
