"""From scores to what is printed: means and spreads over seeds, paired differences, a table."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text
from scipy.stats import t

from mmcl_jax.evaluation.scores import Score
from mmcl_jax.text import visible

NAMES = {
    "top1": "top-1 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "pearson": "Pearson correlation",
}
_PROTOCOLS = {
    "probe": "Linear probe",
    "augmented_probe": "Linear probe with augmented images",
    "finetune": "Fine-tuning",
    "knn": "Nearest neighbours",
    "retrieval": "Retrieval",
}
_INPUTS = {"image": "images", "table": "tables", "both": "images and tables", "image-table": "images and tables"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (ddof 1; NaN for one repeat) over repeats."""

    mean: float
    sd: float
    repeats: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % t-interval of the mean; NaN for one repeat."""
        half = float(t.ppf(0.975, self.repeats - 1)) * self.sd / np.sqrt(self.repeats) if self.repeats > 1 else np.nan
        return float(self.mean - half), float(self.mean + half)

    def __str__(self) -> str:
        digits = 3 if not abs(self.mean) >= 100 else 1
        mean = f"{self.mean:.{digits}f}"
        return mean if self.repeats == 1 else f"{mean} ± {self.sd:.{digits}f}"


def only(scores: Sequence[Score], *, protocol: str | None = None, input: str | None = None) -> list[Score]:
    """The scores of a protocol, of an input, or of both."""
    return [s for s in scores if protocol in (None, s.protocol) and input in (None, s.input)]


def groups_of(scores: Sequence[Score]) -> list[tuple[str, str]]:
    """The pairs of protocol and input that occur, in order of appearance."""
    return list(dict.fromkeys((score.protocol, score.input) for score in scores))


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
            values.setdefault(getattr(score, repeats_of(scores)), []).append(score.metrics[metric])
    return {repeat: float(np.mean(v)) for repeat, v in sorted(values.items())}


def _cell(values: Sequence[float]) -> Cell:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(float(np.mean(values)), sd, len(values))


def summarise(scores: Sequence[Score], metric: str = "top1") -> dict[str, dict[str, Cell]]:
    """`{method: {budget: cell}}` of the scores of one protocol and input; pairs that were not measured are left out.

    Raises:
      ValueError: the scores are of several protocols or inputs, whose mean would mean nothing.
    """
    if len(groups_of(scores)) > 1:
        raise ValueError(f"scores of several protocols or inputs: {groups_of(scores)}")
    cells: dict[str, dict[str, Cell]] = {}
    for method in methods_of(scores):
        found = {budget: by_repeat(scores, method, budget, metric) for budget in budgets_of(scores)}
        cells[method] = {budget: _cell(list(values.values())) for budget, values in found.items() if values}
    return cells


def paired(scores: Sequence[Score], first: str, second: str, budget: str, metric: str = "top1") -> tuple[Cell, int]:
    """`first - second` at the repeats both have, and at how many of them it is above 0.

    The cell's `interval` is the 95 % t-interval of the paired difference.
    """
    one, other = by_repeat(scores, first, budget, metric), by_repeat(scores, second, budget, metric)
    differences = [one[repeat] - other[repeat] for repeat in one if repeat in other]
    return _cell(differences), sum(difference > 0 for difference in differences)


def render(scores: Sequence[Score], metric: str = "top1") -> Table:
    """The table of one protocol and input: a row per method, a column per budget."""
    (protocol, given) = groups_of(scores)[0]
    over = {"seed": "pretraining seeds", "draw": "draws of labels"}[repeats_of(scores)]
    cells = summarise(scores, metric)
    most = max(cell.repeats for row in cells.values() for cell in row.values())
    spread = f", mean ± sd over {most} {over}" if most > 1 else ""
    title = f"{_PROTOCOLS[protocol]} on {_INPUTS[given]}, test {NAMES.get(metric, metric.replace('_', ' '))}{spread}"
    table = Table(title=title, title_justify="left")
    table.add_column("features")
    budgets = budgets_of(scores)
    for budget in budgets:
        table.add_column(Text(visible(budget if protocol == "retrieval" else f"labels: {budget}")), justify="right")
    for method, row in cells.items():
        table.add_row(Text(visible(method)), *(str(row[budget]) if budget in row else "" for budget in budgets))
    return table


def render_retrieval(scores: Sequence[Score]) -> Table:
    """The table of retrieval: a row per method and direction and one for chance, a column per metric."""
    measures = {
        "recall@1": "recall at 1",
        "recall@5": "recall at 5",
        "recall@10": "recall at 10",
        "median_rank": "median rank",
    }
    first, second = scores[0].input.split("-")
    spread = ", mean ± sd over pretraining seeds" if repeats_of(scores) == "seed" else ""
    table = Table(title=f"Retrieval of the test split's images and tables{spread}", title_justify="left")
    for name in ("projections", "from", *measures.values()):
        table.add_column(name, justify="left" if name in ("projections", "from") else "right")
    for method in methods_of(scores):
        for query, found in ((first, second), (second, first)):
            cells = [summarise(scores, f"{query}_to_{found}_{name}")[method][scores[0].budget] for name in measures]
            table.add_row(Text(visible(method)), f"{query} to {found}", *map(str, cells))
    table.add_row("chance", "", *(f"{scores[0].metrics[f'chance_{name}']:.3f}" for name in measures))
    return table


def tables(scores: Sequence[Score]) -> list[Table]:
    """Every table: per protocol and input, the two metrics that matter most for the task; and retrieval's."""
    made = []
    for protocol, given in groups_of(scores):
        part = only(scores, protocol=protocol, input=given)
        if protocol == "retrieval":
            made.append(render_retrieval(part))
        else:
            metrics = ("mae", "pearson") if "mse" in part[0].metrics else ("top1", "auroc")
            made += [render(part, metric) for metric in metrics]
    return made
