"""Small charts as inline SVG, in the colours of the page.

Only bars are drawn. They stretch to the width they get, so all text stands beside them as HTML, where it keeps its size
on a phone and on paper.
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
    said: Callable[[float], str],
    median: float | None = None,
    even: bool = True,
) -> Html | None:
    """Draw bars over their bins, and a line at the median.

    Args:
      edges: of the bins, `[n + 1]`, ascending.
      counts: rows per bin, `[n]`.
      label: what is shown, read aloud.
      said: writes a value of the column.
      median: where the line stands.
      even: whether the axis is that of the values; else all bins are drawn equally wide.

    Returns:
      The chart, or None where there is nothing to draw.
    """
    bins = list(zip(edges[:-1], edges[1:], counts, strict=False))
    most = max((rows for *_, rows in bins), default=0)
    if not most > 0 or not all(map(math.isfinite, edges)):
        return None
    low, span = edges[0], edges[-1] - edges[0]

    def across(value: float) -> float:
        if not even:
            return _WIDTH * float(np.interp(value, edges, np.linspace(0, 1, len(edges))))
        return _WIDTH * (value - low) / span if span > 0 else 0.0

    bars = []
    for left, right, rows in bins:
        start, end = (across(left), across(right)) if span > 0 else (0.45 * _WIDTH, 0.55 * _WIDTH)
        # A bin with few rows stays in sight beside one with many.
        tall = max(_HEIGHT * rows / most, 1.2) if rows else 0.0
        tip = element("title", f"{said(left)} to {said(right)}: {counted(int(rows), 'row')}")
        bars.append(element("rect", tip, x=start, y=_HEIGHT - tall, width=end - start, height=tall, class_="bin"))
    line = None
    if median is not None and span > 0 and edges[0] <= median <= edges[-1]:
        line = element("line", x1=across(median), x2=across(median), y1=0, y2=_HEIGHT, class_="median")
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
    """Draw a bar, `part` of `whole` long. It repeats the number beside it, so it is not read aloud."""
    length = 100 * min(max(part / whole, 0.0), 1.0) if whole > 0 and math.isfinite(part) else 0.0
    return _strip([element("rect", width=length, height=1, class_=series)], aria_hidden="true")


def bars(rows: Iterable[tuple[Child, float, str]], whole: float, series: str = "s0") -> Html:
    """Draw labelled bars below one another: (label, part of `whole`, the part in words)."""
    lines = [
        element("li", element("span", label), element("span", words, class_="number"), bar(part, whole, series))
        for label, part, words in rows
    ]
    return element("ul", lines, class_="bars")


def stacked(parts: Sequence[tuple[str, int]], *, label: str, whole: int | None = None) -> Html:
    """Draw a bar of several parts, coloured in turn, as long as their sum is of `whole`.

    The parts and their shares are read aloud after `label`.
    """
    total = sum(rows for _, rows in parts)
    scale = 100 / max(total if whole is None else whole, 1)
    segments, start = [], 0.0
    for place, (text, rows) in enumerate(parts):
        if rows:
            tip = element("title", f"{visible(text)}: {count(rows)} ({share(rows, total)})")
            series = f"s{place % SERIES} segment"
            segments.append(element("rect", tip, x=start, width=rows * scale, height=1, class_=series))
        start += rows * scale
    said = ", ".join(f"{visible(text)} {count(rows)} ({share(rows, total)})" for text, rows in parts)
    return _strip([element("title", f"{label}: {said}"), *segments], role="img")


def legend(texts: Iterable[Child]) -> Html:
    """Return the legend of `stacked`: each colour with its meaning."""
    keys = [element("li", swatch(place), element("span", text)) for place, text in enumerate(texts)]
    return element("ul", keys, class_="legend")


def swatch(place: int) -> Html:
    """Return a small square in the colour of one part."""
    square = element("rect", width=1, height=1, class_=f"s{place % SERIES}")
    return element("svg", square, class_="swatch", viewBox="0 0 1 1", aria_hidden="true")


def _strip(content: Child, **attributes: str) -> Html:
    return element("svg", content, class_="strip", viewBox="0 0 100 1", preserveAspectRatio="none", **attributes)
