"""From scores to what is printed: means and spreads over seeds, paired differences, a table."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from mmcl_jax.evaluation.protocol import Score


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (ddof 1; NaN for one repeat) over repeats."""

    mean: float
    sd: float
    repeats: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.repeats == 1 else f"{self.mean:.3f} ± {self.sd:.3f}"


def methods_of(scores: Sequence[Score]) -> list[str]:
    """The methods, in order of appearance."""
    return list(dict.fromkeys(score.method for score in scores))


def budgets_of(scores: Sequence[Score]) -> list[str]:
    """The budgets, in order of appearance."""
    return list(dict.fromkeys(score.budget for score in scores))


def repeats_of(scores: Sequence[Score]) -> str:
    """What the spread is over: "seed" where methods were pretrained at several, else "draw" (of labels)."""
    return "seed" if len({score.seed for score in scores}) > 1 else "draw"


def by_repeat(scores: Sequence[Score], method: str, budget: str, metric: str = "top1") -> dict[int, float]:
    """A method's score for every seed (the mean over its draws), or for every draw if there is one seed."""
    values: dict[int, list[float]] = {}
    for score in scores:
        if (score.method, score.budget) == (method, budget):
            values.setdefault(getattr(score, repeats_of(scores)), []).append(getattr(score, metric))
    return {repeat: float(np.mean(v)) for repeat, v in sorted(values.items())}


def _cell(values: Sequence[float]) -> Cell:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(float(np.mean(values)), sd, len(values))


def summarise(scores: Sequence[Score], metric: str = "top1") -> dict[str, dict[str, Cell]]:
    """`{method: {budget: cell}}`."""
    budgets = budgets_of(scores)
    return {
        method: {budget: _cell(list(by_repeat(scores, method, budget, metric).values())) for budget in budgets}
        for method in methods_of(scores)
    }


def paired(scores: Sequence[Score], first: str, second: str, budget: str, metric: str = "top1") -> tuple[Cell, int]:
    """`first - second` at the repeats both have, and at how many of them it is above 0."""
    one, other = by_repeat(scores, first, budget, metric), by_repeat(scores, second, budget, metric)
    differences = [one[repeat] - other[repeat] for repeat in one if repeat in other]
    return _cell(differences), sum(difference > 0 for difference in differences)


def render(scores: Sequence[Score], metric: str = "top1") -> Table:
    """The table: a row per method, a column per budget."""
    names = {"top1": "top-1 accuracy", "auroc": "AUROC"}
    over = {"seed": "pretraining seeds", "draw": "draws of labels"}[repeats_of(scores)]
    cells = summarise(scores, metric)
    most = max(cell.repeats for row in cells.values() for cell in row.values())
    spread = f", mean ± sd over {most} {over}" if most > 1 else ""
    table = Table(title=f"Linear probe on images, test {names[metric]}{spread}", title_justify="left")
    table.add_column("features")
    for budget in budgets_of(scores):
        table.add_column(f"labels: {budget}", justify="right")
    for method, row in cells.items():
        table.add_row(method, *map(str, row.values()))
    return table
