"""Draw the README's picture from committed results: `python -m benchmarks.picture [FOLDER]`.

Left, the quickstart's accuracy by labels; right, the memory that the exact contrastive loss needs on each device.
`FOLDER` (`docs` by default) gets `front-light.png` and `front-dark.png`.
"""

import json
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.record import RESULTS

# Colours of text and lines: those of GitHub's two themes. The background is that of the page.
_THEMES = {"light": ("#1f2328", "#d1d9e0"), "dark": ("#f0f6fc", "#3d444d")}
_METHODS = {
    "digits_mmcl": ("image and table (MMCL)", "#3d9bd6", "-"),
    "digits_simclr": ("image only (SimCLR)", "#e07b39", "-"),
    "pixels": ("raw pixels", "#8c959f", "--"),
}
_EXECUTIONS = {
    "dense": ("all pairs as a matrix", "#8c959f", "--", (-10, -3)),
    "gathered": ("mmcl_jax: gathered", "#3d9bd6", "-", (-4, 8)),
    "ring": ("mmcl_jax: ring", "#2da882", "-", (-4, -14)),
}


def draw(folder: Path, results: Path = RESULTS) -> list[Path]:
    """Write the picture for both themes into a folder that exists, and return the files."""
    top1 = json.loads((results / "quickstart-cpu-jax0.10.2.json").read_text())["summary"]["top1"]
    compiled = json.loads((results / "compiled-cpu-jax0.10.2.json").read_text())["rows"]
    files = []
    for theme, (text, grid) in _THEMES.items():
        figure = Figure(figsize=(9, 3.1), layout="constrained", facecolor="none")
        left, right = figure.subplots(1, 2)
        _accuracy(left, top1)
        _memory(right, [row for row in compiled if row["program"] == "kernel"])
        for axes in (left, right):
            axes.set_facecolor("none")
            axes.grid(axis="y", color=grid, linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color(grid)
            axes.tick_params(colors=text, labelsize=9)
            for label in (axes.title, axes.xaxis.label, axes.yaxis.label):
                label.set_color(text)
            axes.legend(frameon=False, labelcolor=text, fontsize=9)
        files.append(folder / f"front-{theme}.png")
        figure.savefig(files[-1], dpi=150, metadata={"Software": None})
    return files


def _accuracy(axes: Axes, top1: dict[str, dict[str, dict[str, float]]]) -> None:
    for index, (name, (label, colour, style)) in enumerate(_METHODS.items()):
        budgets = list(top1[name])
        means, spreads = ([top1[name][budget][key] for budget in budgets] for key in ("mean", "sd"))
        at = [number + 0.04 * (index - 1) for number in range(len(budgets))]
        axes.errorbar(at, means, spreads, label=label, color=colour, linestyle=style, marker="o", capsize=3)
    axes.set_xticks(range(len(budgets)), budgets)
    axes.set_title("Frozen image encoders, shipped digits", fontsize=11)
    axes.set_xlabel("labels used by the linear probe", fontsize=9)
    axes.set_ylabel("test accuracy, 3 seeds", fontsize=9)


def _memory(axes: Axes, rows: list[dict[str, float]]) -> None:
    for execution, (label, colour, style, offset) in _EXECUTIONS.items():
        chosen = [row for row in rows if row["execution"] == execution]
        batches, memory = [row["batch"] for row in chosen], [row["temporary_bytes"] / 2**20 for row in chosen]
        axes.plot(batches, memory, label=label, color=colour, linestyle=style, marker="o")
        most = memory[-1]
        text = f"{most / 1024:.1f} GiB" if most > 1024 else f"{most:.0f} MiB"
        at = (batches[-1], most)
        axes.annotate(text, at, offset, textcoords="offset points", ha="right", color=colour, fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
    axes.set_title("Memory of the exact loss on 8 devices", fontsize=11)
    axes.set_xlabel("batch size (embeddings of width 128)", fontsize=9)
    axes.set_ylabel("temporary MiB per device", fontsize=9)


if __name__ == "__main__":
    for path in draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        print(path)
