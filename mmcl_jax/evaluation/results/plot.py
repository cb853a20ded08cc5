"""The figure of a table: metrics against label budgets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import NAMES, budgets_of, summarise

# Wong's palette, which colour-blind readers can tell apart; baselines in greys.
_COLOURS = {
    **dict.fromkeys(("pixels", "columns", "pixels and columns"), "#999999"),
    **dict.fromkeys(("random encoder", "supervised image", "supervised table", "supervised image+table"), "#555555"),
}
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_DETAILS = {"auroc": " (macro, one-vs-rest)"}


def plot_scores(
    scores: Sequence[Score], path: Path, *, title: str, metrics: tuple[str, str] = ("top1", "auroc")
) -> None:
    """Draw two metrics against the label budget, with one standard deviation over seeds, to a PNG file.

    Args:
      scores: of one protocol and input.
      path: of the PNG file.
      title: above the figure.
      metrics: two names of metrics on test, such as "mae" and "pearson" for regression.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    budgets = budgets_of(scores)
    positions = np.arange(len(budgets))
    for axes, metric in zip(figure.subplots(1, 2), metrics, strict=True):
        cells = summarise(scores, metric)
        trained = [method for method in cells if method not in _COLOURS]
        colours = {**_COLOURS, **dict(zip(trained, _PALETTE * len(trained), strict=False))}
        for index, (method, row) in enumerate(cells.items()):
            means = [row[budget].mean if budget in row else np.nan for budget in budgets]
            spreads = [np.nan_to_num(row[budget].sd) if budget in row else 0.0 for budget in budgets]
            shift = 0.03 * (index - (len(cells) - 1) / 2)
            axes.errorbar(
                positions + shift,
                means,
                yerr=spreads,
                label=method,
                color=colours[method],
                marker="o",
                capsize=3,
                linestyle="--" if method in _COLOURS else "-",
            )
        axes.set_xticks(positions, budgets)
        axes.set_xlabel("Labels used")
        axes.set_ylabel(f"Test {NAMES[metric]}{_DETAILS.get(metric, '')}")
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(loc="lower right", frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
