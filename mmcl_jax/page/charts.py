"""Small charts as inline SVG, in the colours of the page.

Charts stretch to the width of the page, which would stretch their text, too; so all text stands beside them as HTML,
where it keeps its size on a phone and on paper.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mmcl_jax.page.html import Child, Html, element
from mmcl_jax.page.wording import count, counted, share
from mmcl_jax.text import visible

SERIES = 8  # colours of the style sheet, `s0` to `s7`
_WIDTH, _HEIGHT = 240.0, 60.0


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    label: str,
    written: Callable[[float], str],
    median: float | None = None,
    even: bool = True,
) -> Html | None:
    """Draw a histogram with a line at the median.

    Args:
      edges: the edges of the bins, `[n + 1]`, ascending.
      counts: the rows per bin, `[n]`.
      label: the description for screen readers.
      written: writes a value of the column, for the tips of the bars.
      median: the position of the line.
      even: whether the axis is linear in the values; if not, all bins are drawn equally wide.

    Returns:
      The chart, or None if there is nothing to draw.
    """
    bins = list(zip(edges[:-1], edges[1:], counts, strict=False))
    most = max((rows for *_, rows in bins), default=0)
    if not most > 0 or not all(map(math.isfinite, edges)):
        return None
    low, span = edges[0], edges[-1] - edges[0]

    def x_of(value: float) -> float:
        if not even:
            return _WIDTH * float(np.interp(value, edges, np.linspace(0, 1, len(edges))))
        return _WIDTH * (value - low) / span if span > 0 else 0.0

    bars = []
    for left, right, rows in bins:
        start, end = (x_of(left), x_of(right)) if span > 0 else (0.45 * _WIDTH, 0.55 * _WIDTH)
        # A bin with few rows must stay visible beside a bin with many.
        tall = max(_HEIGHT * rows / most, 1.2) if rows else 0.0
        tip = element("title", f"{written(left)} to {written(right)}: {counted(int(rows), 'row')}")
        bars.append(element("rect", tip, x=start, y=_HEIGHT - tall, width=end - start, height=tall, class_="bin"))
    line = None
    if median is not None and span > 0 and edges[0] <= median <= edges[-1]:
        line = element("line", x1=x_of(median), x2=x_of(median), y1=0, y2=_HEIGHT, class_="median")
    return element(
        "svg",
        element("title", label),
        bars,
        line,
        class_="histogram",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
    )


def bar(part: float, whole: float, series: str = "s0") -> Html:
    """Draw a bar of the length `part / whole`. It repeats the number beside it, so screen readers skip it."""
    length = 100 * min(max(part / whole, 0.0), 1.0) if whole > 0 and math.isfinite(part) else 0.0
    return _strip([element("rect", width=length, height=1, class_=series)], aria_hidden="true")


def bars(rows: Iterable[tuple[Child, float, str]], whole: float, series: str = "s0") -> Html:
    """Draw labelled bars one below the other; a row is (label, part of `whole`, the part in words)."""
    lines = [
        element("li", element("span", label), element("span", words, class_="number"), bar(part, whole, series))
        for label, part, words in rows
    ]
    return element("ul", lines, class_="bars")


def stacked(parts: Sequence[tuple[str, int]], *, label: str, whole: int | None = None) -> Html:
    """Draw a bar of several parts in different colours, whose length is the sum of the parts over `whole`.

    Screen readers read `label`, and then the parts with their shares.
    """
    total = sum(rows for _, rows in parts)
    scale = 100 / max(total if whole is None else whole, 1)
    segments, start = [], 0.0
    for index, (text, rows) in enumerate(parts):
        if rows:
            tip = element("title", f"{visible(text)}: {count(rows)} ({share(rows, total)})")
            series = f"s{index % SERIES} segment"
            segments.append(element("rect", tip, x=start, width=rows * scale, height=1, class_=series))
        start += rows * scale
    words = ", ".join(f"{visible(text)} {count(rows)} ({share(rows, total)})" for text, rows in parts)
    return _strip([element("title", f"{label}: {words}"), *segments], role="img")


def legend(texts: Iterable[Child]) -> Html:
    """Return the legend of `stacked`: each colour with the name of its part."""
    keys = [element("li", swatch(index), element("span", text)) for index, text in enumerate(texts)]
    return element("ul", keys, class_="legend")


def swatch(index: int) -> Html:
    """Return a small square in the colour of the part at an index."""
    square = element("rect", width=1, height=1, class_=f"s{index % SERIES}")
    return element("svg", square, class_="swatch", viewBox="0 0 1 1", aria_hidden="true")


def _strip(content: Child, **attributes: str) -> Html:
    return element("svg", content, class_="strip", viewBox="0 0 100 1", preserveAspectRatio="none", **attributes)
