"""Pictures of attention: columns by regions, mean maps of columns over the mean image, and maps of single rows."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from mmcl_jax.explain.base import Picture
from mmcl_jax.explain.pictures.overlays import overlay
from mmcl_jax.page.wording import clipped

REGIONS, COLUMNS = "regions.png", "columns.png"
_STYLE = {"text.parse_math": False}  # a dollar sign in a name is no formula
_ACROSS = 5  # panels in a line


def draw_regions(folder: Path, names: Sequence[str], maps: np.ndarray) -> Picture:
    """Draw the mean maps `[K, h, w]` as a table of columns by regions, row by row of the grid; return the picture."""
    count, height, width = maps.shape
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        figure = Figure(figsize=(7.0, 1.3 + 0.27 * count), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(maps.reshape(count, -1), aspect="auto", cmap="viridis", vmin=0)
        axes.set_yticks(range(count), [clipped(name, 40) for name in names])
        axes.set_xticks([width * row - 0.5 for row in range(height)], [f"row {row + 1}" for row in range(height)])
        axes.tick_params(axis="x", labelrotation=90 if height > 8 else 0)
        axes.set_xlabel(f"regions of the image: {height} rows of {width}, from the top left")
        figure.colorbar(image, label="mean weight")
        figure.savefig(folder / REGIONS, dpi=150)
    first = ", ".join(clipped(name) for name in names[:5])
    return Picture(REGIONS, f"The weight of each of {height} x {width} regions for {count} columns, such as {first}.")


def draw_columns(folder: Path, image: np.ndarray, names: Sequence[str], maps: np.ndarray) -> Picture:
    """Draw the mean map of each column over the mean image; return the picture."""
    _panels(folder / COLUMNS, image, names, maps, first="mean image")
    return Picture(COLUMNS, f"The mean image, and over it where {', '.join(clipped(n) for n in names)} look.")


def draw_row(file: Path, image: np.ndarray, names: Sequence[str], maps: np.ndarray) -> None:
    """Draw the image `[H, W, C]` of a row, and over it the map of each of some columns."""
    _panels(file, image, names, maps, first="image")


def _panels(file: Path, image: np.ndarray, names: Sequence[str], maps: np.ndarray, *, first: str) -> None:
    lines = math.ceil((1 + len(names)) / _ACROSS)
    across = min(_ACROSS, 1 + len(names))
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=(1.6 * across, 1.9 * lines), layout="constrained")
        panels = figure.subplots(lines, across, squeeze=False).ravel()
        plain, *_ = np.split(overlay(image, np.zeros(maps.shape[1:])), 2, axis=1)
        over = (np.split(overlay(image, one), 2, axis=1)[1] for one in maps)
        for panel, name, picture in zip(panels, [first, *names], [plain, *over], strict=False):
            panel.imshow(picture)
            panel.set_title(clipped(name, 20), fontsize=8)
        for panel in panels:
            panel.set_axis_off()
        figure.savefig(file, dpi=100)
