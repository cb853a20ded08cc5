"""From scores to what is printed: means and spreads over seeds, paired differences, a table."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from mmcl_jax.evaluation.protocol import Score


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (ddof 1; NaN for one seed) over seeds, of each seed's mean over its draws."""

    mean: float
    sd: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.seeds == 1 else f"{self.mean:.3f} ± {self.sd:.3f}"


def _distinct(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def methods_of(scores: Sequence[Score]) -> list[str]:
    """The methods, in order of appearance."""
    return _distinct([score.method for score in scores])


def budgets_of(scores: Sequence[Score]) -> list[str]:
    """The budgets, in order of appearance."""
    return _distinct([score.budget for score in scores])


def by_seed(scores: Sequence[Score], method: str, budget: str, metric: str = "top1") -> dict[int, float]:
    """The mean over draws, for every seed."""
    values: dict[int, list[float]] = {}
    for score in scores:
        if (score.method, score.budget) == (method, budget):
            values.setdefault(score.seed, []).append(getattr(score, metric))
    return {seed: float(np.mean(v)) for seed, v in sorted(values.items())}


def _cell(values: Sequence[float]) -> Cell:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(float(np.mean(values)), sd, len(values))


def summarise(scores: Sequence[Score], metric: str = "top1") -> dict[str, dict[str, Cell]]:
    """`{method: {budget: cell}}`."""
    return {
        method: {budget: _cell(list(by_seed(scores, method, budget, metric).values())) for budget in budgets_of(scores)}
        for method in methods_of(scores)
    }


def paired(scores: Sequence[Score], first: str, second: str, budget: str, metric: str = "top1") -> tuple[Cell, int]:
    """`first - second` at the seeds both have, and at how many of them it is above 0."""
    one, other = by_seed(scores, first, budget, metric), by_seed(scores, second, budget, metric)
    differences = [one[seed] - other[seed] for seed in one if seed in other]
    return _cell(differences), sum(difference > 0 for difference in differences)


def render(scores: Sequence[Score], metric: str = "top1") -> Table:
    """The table: a row per method, a column per budget."""
    names = {"top1": "top-1 accuracy", "auroc": "AUROC"}
    seeds = len({score.seed for score in scores})
    spread = "" if seeds == 1 else f", mean ± sd over {seeds} seeds"
    table = Table(title=f"Linear probe on images, test {names[metric]}{spread}", title_justify="left")
    table.add_column("features")
    budgets = budgets_of(scores)
    for budget in budgets:
        table.add_column(f"labels: {budget}", justify="right")
    for method, cells in summarise(scores, metric).items():
        table.add_row(method, *(str(cells[budget]) for budget in budgets))
    return table
