"""The figures of tables: metrics against label budgets, or against the share of the table that was hidden."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import NAMES, ScoreCell, budgets_of, by_rate, methods_of, summarise

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
    budgets = budgets_of(scores)
    tables = [summarise(scores, metric) for metric in metrics]
    _draw(tables, metrics, dict.fromkeys(budgets), path, title=title, x="Labels used")


def plot_missing(
    scores: Sequence[Score], by: str, path: Path, *, title: str, metrics: tuple[str, str] = ("top1", "auroc")
) -> None:
    """Draw two metrics against the share of the table that a strategy hid, as `plot_scores` does against budgets.

    Args:
      scores: of one protocol, input, label and budget.
      by: the strategy.
      path: of the PNG file.
      title: above the figure.
      metrics: two names of metrics on test.

    Raises:
      ValueError: the scores are of several budgets.
    """
    (budget,) = budgets_of(scores)
    parts = by_rate(scores, by)
    tables = []
    for metric in metrics:
        at = {f"{100 * rate:g} %": summarise(part, metric) for rate, part in parts.items()}
        tables.append(
            {
                method: {rate: table[method][budget] for rate, table in at.items() if method in table}
                for method in methods_of(scores)
            }
        )
    rates: dict[str, float | None] = {f"{100 * rate:g} %": rate for rate in parts}
    _draw(tables, metrics, rates, path, title=title, x="Share of the table that is hidden")


def _draw(
    tables: Sequence[dict[str, dict[str, ScoreCell]]],
    metrics: Sequence[str],
    columns: dict[str, float | None],
    path: Path,
    *,
    title: str,
    x: str,
) -> None:
    """Draw a panel per metric: a line per method over the columns, which stand at their number or side by side."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    budgets = list(columns)
    side_by_side = None in columns.values()
    positions = np.arange(len(budgets)) if side_by_side else np.array(list(columns.values()), float)
    for axes, metric, cells in zip(figure.subplots(1, 2), metrics, tables, strict=True):
        trained = [method for method in cells if method not in _COLOURS]
        colours = {**_COLOURS, **dict(zip(trained, _PALETTE * len(trained), strict=False))}
        for index, (method, row) in enumerate(cells.items()):
            means = [row[budget].mean if budget in row else np.nan for budget in budgets]
            spreads = [np.nan_to_num(row[budget].sd) if budget in row else 0.0 for budget in budgets]
            shift = 0.03 * (index - (len(cells) - 1) / 2) if side_by_side else 0.0
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
        axes.set_xlabel(x)
        axes.set_ylabel(f"Test {NAMES.get(metric, metric)}{_DETAILS.get(metric, '')}")
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(loc="lower right", frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
