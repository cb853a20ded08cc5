"""Every seed of every method on one axis, as inline SVG."""

import math

from mmcl_jax.page.html import Html, element
from mmcl_jax.reproduce.outcome import TableOutcome, plus_minus
from mmcl_jax.reproduce.page.axis import ends
from mmcl_jax.reproduce.tables.spec import Published, TableColumn, TableRow


def strips(outcome: TableOutcome, column: TableColumn) -> Html | None:
    """Draw a line per row of the column: thin ticks for seeds, a thick one at their mean, a dashed at the paper's.

    The paper's are drawn where they are of the data at hand. All lines have the axis whose ends are written below them.
    """
    rows = [row for row in outcome.plan.rows if any(map(math.isfinite, _values(outcome, row, column).values()))]
    if not rows:
        return None
    shown = [value for row in rows for value in _values(outcome, row, column).values()]
    shown += [paper.mean for row in rows if (paper := _paper(outcome, row, column)) and paper.mean is not None]
    low, high = ends(list(filter(math.isfinite, shown)))

    def tick(value: float, kind: str, tip: str) -> Html | None:
        if not math.isfinite(value):
            return None
        across = 100 * (value - low) / (high - low)
        return element("line", element("title", tip), x1=across, x2=across, y1=0, y2=1, class_=kind)

    lines = []
    for row in rows:
        spread, paper = outcome.spread(row, column), _paper(outcome, row, column)
        first = row.key == outcome.plan.table.reference
        ticks = [tick(value, "tick", f"seed {seed}") for seed, value in _values(outcome, row, column).items()]
        if spread is not None:
            ticks.append(tick(spread.mean, "mean lead-mean" if first else "mean", "mean"))
        if paper is not None and paper.mean is not None:
            ticks.append(tick(paper.mean, "paper-mean", f"published: {paper}"))
        drawn = element(
            "svg", ticks, class_="axis", viewBox="0 0 100 1", preserveAspectRatio="none", aria_hidden="true"
        )
        name = element("strong" if first else "span", row.label)
        lines.append(element("li", name, element("span", plus_minus(spread), class_="number"), drawn))
    scale = element("div", element("span", f"{low:g} %"), element("span", f"{high:g} %"), class_="ends")
    return element("div", element("h3", column.heading), element("ul", lines, class_="bars"), scale)


def _values(outcome: TableOutcome, row: TableRow, column: TableColumn) -> dict[int, float]:
    cell = outcome.cells.get((row.key, column.key))
    return dict(cell.percent) if cell else {}


def _paper(outcome: TableOutcome, row: TableRow, column: TableColumn) -> Published | None:
    return outcome.published(row, column) if outcome.own_target else None
