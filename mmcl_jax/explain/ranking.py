"""The ranked plot of columns, coloured by group, as in figures 3 and 4 of Hager et al. (CVPR 2023)."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmcl_jax.explain.base import Picture
from mmcl_jax.page.wording import clipped, counted, share

FILES = ("ranking.svg", "ranking.png")
# A dollar sign in a name is no formula; an SVG file has the same bytes every time.
_STYLE = {"text.parse_math": False, "svg.hashsalt": "mmcl_jax", "svg.fonttype": "none"}


def draw_ranking(
    columns: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    title: str,
    rows: int,
    top: int,
    axis: str = "mean absolute attribution",
    shares: bool = True,
) -> list[Picture]:
    """Draw a bar for each of the most important columns, the most important on top; return the pictures.

    Args:
      columns: as in `explanation.json`.
      groups: their groups, as there.
      folder: of the files.
      title: above the bars.
      rows: number of explained rows, for the title.
      top: most bars.
      axis: what the bars, the importance of columns, are.
      shares: whether the importances of columns add up, so that shares of them mean something.
    """
    shown = sorted(columns, key=lambda column: column["rank"])[:top]
    colours = {group["name"]: group["colour"] for group in groups}
    size = (7.0, 1.4 + 0.27 * len(shown))
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        positions = range(len(shown), 0, -1)
        bars = [colours[column["group"]] for column in shown]
        axes.barh(positions, [column["importance"] for column in shown], color=bars, height=0.75)
        axes.set_yticks(positions, [clipped(column["name"], 40) for column in shown])
        axes.set_ylim(0.4, len(shown) + 0.6)
        axes.set_xlabel(axis)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        of = f", the first {len(shown)} of {counted(len(columns), 'column')}" if len(shown) < len(columns) else ""
        figure.suptitle(f"{title}\n{counted(rows, 'row')}{of}", fontsize=10)
        if len(colours) > 1:
            keys = [
                Patch(color=group["colour"], label=clipped(group["name"], 24) + (_part(group) if shares else ""))
                for group in groups
            ]
            figure.legend(handles=keys, loc="outside lower center", ncols=min(3, len(keys)), frameon=False)
        words = alternative(shown, len(columns), groups, title, shares=shares)
        for name in FILES:
            metadata = {"Title": title, "Description": words} | ({"Date": None} if name.endswith(".svg") else {})
            figure.savefig(folder / name, dpi=150, metadata=metadata)
    return [Picture(name, words) for name in FILES]


def alternative(
    shown: Sequence[Mapping[str, Any]],
    count: int,
    groups: Sequence[Mapping[str, Any]],
    title: str,
    *,
    shares: bool = True,
) -> str:
    """Return the description of the plot in words, for those who do not see it."""
    first = ", ".join(clipped(column["name"]) + (_part(column) if shares else "") for column in shown[:5])
    sums = ", ".join(clipped(group["name"]) + _part(group) for group in groups)
    of_groups = f" By group: {sums}." if len(groups) > 1 and shares else ""
    return f"{title}: a bar per column, {len(shown)} of {count}. The largest are {first}.{of_groups}"


def _part(column: Mapping[str, Any]) -> str:
    return f" ({share(column['share'], 1)})"
