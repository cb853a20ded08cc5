"""A matrix of similarities as an image, and the dendrogram of what it compares, as inline SVG."""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from mmcl_jax.page.html import Child, Html, drawing, element
from mmcl_jax.page.wording import clipped

_CELL, _TREE, _LABEL, _MOST = 46.0, 150.0, 210.0, 34
_BRIGHT = 0.55  # the shade from which the number is written in the colour of the paper

SIMILARITY_STYLE = """
.similarities { width: 100%; height: auto; max-width: 64rem; }
.similarities text { fill: var(--ink); font: 12.5px system-ui, sans-serif; }
.similarities .shade { fill: var(--s0); stroke: var(--paper); stroke-width: 1px; }
.similarities .bright { fill: #ffffff; }
.similarities .branch { fill: none; stroke: var(--soft); stroke-width: 1.4px; }
.pairs { margin-top: 1rem; }
"""


def leaves_of(values: np.ndarray) -> tuple[list[int], list[tuple[list[float], list[float]]]]:
    """Return the order of the leaves, and the branches, of the dendrogram of a matrix of similarities `[R, R]`.

    Representations are joined by the mean distance between their groups (average linkage), where the distance of two is
    1 minus their similarity, of both orders on average.

    Returns:
      The order `[R]`, and of every branch its positions along the leaves (0 for the first) and its distances.

    Example:
      >>> order, branches = leaves_of(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]]))
      >>> order, [round(max(distances), 2) for _, distances in branches]
      ([1, 0, 2], [0.1, 0.85])
    """
    distances = np.maximum(1 - (values + values.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    tree = dendrogram(linkage(squareform(distances, checks=False), "average"), no_plot=True)
    # The library draws leaves at 5, 15, 25, ...
    branches = [
        ([(at - 5) / 10 for at in across], [float(one) for one in up])
        for across, up in zip(tree["icoord"], tree["dcoord"], strict=True)
    ]
    return list(tree["leaves"]), branches


def picture(title: str, names: Sequence[str], values: np.ndarray) -> Html:
    """Draw a matrix `[R, R]` in the order of its dendrogram, with the dendrogram on its right.

    A cell is the darker the higher its similarity, from 0 to 1, and has its number.

    Args:
      title: for screen readers.
      names: of the R representations.
      values: their similarities, 1 on the diagonal.
    """
    order, branches = leaves_of(values)
    count = len(order)
    longest = max(len(clipped(name, _MOST)) for name in names)
    left = min(_LABEL, 24 + 6.6 * longest)
    parts: list[Child] = []
    for row, i in enumerate(order):
        middle = _CELL * (row + 0.5)
        parts.append(element("text", clipped(names[i], _MOST), x=left - 8, y=middle + 4, text_anchor="end"))
        for column, j in enumerate(order):
            value = float(values[i, j])
            shade = min(max(value, 0.0), 1.0)
            box = element(
                "rect",
                element("title", f"{names[i]} and {names[j]}: {value:.3f}"),
                x=left + _CELL * column,
                y=_CELL * row,
                width=_CELL,
                height=_CELL,
                class_="shade",
                fill_opacity=0.06 + 0.94 * shade,
            )
            words = element(
                "text",
                f"{value:.2f}",
                x=left + _CELL * (column + 0.5),
                y=middle + 4,
                text_anchor="middle",
                class_="bright" if shade > _BRIGHT else None,
            )
            parts += [box, words]
    start = left + _CELL * count + 10
    highest = max(max(up) for _, up in branches)
    for across, up in branches:
        points = [
            (start + _TREE * one / (highest or 1), _CELL * (at + 0.5)) for at, one in zip(across, up, strict=True)
        ]
        path = " ".join(f"{'M' if number == 0 else 'L'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
        parts.append(element("path", d=path, class_="branch"))
    return drawing(title, parts, start + _TREE + 4, _CELL * count, class_="similarities")
