"""The summaries of scores: means and spreads over seeds, paired differences, and printed tables."""

import dataclasses
import io
import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.results.interval import t_half_width
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.reads import is_ensemble, modalities_of
from mmcl_jax.evaluation.sources.remarks import names
from mmcl_jax.tasks import TASKS, Details, Detection, Task
from mmcl_jax.text import visible

NAMES = {
    "top1": "top-1 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "pearson": "Pearson correlation",
    "kappa": "quadratic weighted kappa",
    "auroc_macro": "AUROC (macro)",
    "auroc_micro": "AUROC (micro)",
    "log_loss": "log loss (negative log-likelihood)",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "abs_error_p90": "90th percentile of the absolute error",
    "abs_error_p95": "95th percentile of the absolute error",
    "abs_error_max": "maximum of the absolute error",
    "dice": "Dice coefficient",
    "soft_dice": "soft Dice coefficient",
    "map_released": "mean average precision (released)",
    "map_coco": "mean average precision (COCO)",
    "froc": "FROC sensitivity",
    "standardised_mse_sum": "sum of standardised mean squared errors",
    "kappa_of_batches": "kappa, mean over batches of 16",
    "auroc_micro_of_batches": "AUROC (micro), mean over batches of 16",
    "average_precision_macro": "average precision (macro)",
    "labels_in_macro": "labels in the macro averages",
    "iou": "intersection over union",
}
SHORT = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "mse": "MSE",
    "standardised_mse_sum": "sum of MSE / variance",
    "r2": "R²",
    "top1": "top-1",
    "balanced_accuracy": "balanced accuracy",
    "kappa_of_batches": "kappa of batches of 16",
    "auroc_micro_of_batches": "micro AUROC of batches of 16",
    "average_precision_macro": "average precision (macro)",
    "labels_in_macro": "labels in macro",
    "abs_error_p90": "p90 of |error|",
    "abs_error_p95": "p95 of |error|",
    "abs_error_max": "max |error|",
}
_WIDEST = 10_000  # characters, so that a table is as wide as its cells
_PROTOCOLS = {
    "probe": "Linear probe",
    "augmented_probe": "Linear probe with augmented images",
    "finetune": "Fine-tuning",
    "unet": "U-Net on the frozen encoder",
    "knn": "Nearest neighbours",
    "logistic": "Logistic regression",
    "retrieval": "Retrieval",
    "confounding": "Confounding",
    "features": "Gradient boosting",
    "tabpfn": "TabPFN",
    **{name: rival.words for name, rival in RIVALS.items()},
}


_STRATEGIES = {
    "cells": "random cells hidden",
    "columns": "random columns hidden",
    "most_important": "the most important columns hidden",
    "least_important": "the least important columns hidden",
    "value": "the largest values hidden",
    "label": "cells hidden by the label",
}


@dataclasses.dataclass(frozen=True)
class ScoreCell:
    """The mean and the standard deviation (ddof 1; NaN for one repeat) over repeats."""

    mean: float
    sd: float
    repeats: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % t-interval of the mean; NaN for one repeat."""
        half = t_half_width(self.sd, self.repeats)
        return float(self.mean - half), float(self.mean + half)

    def __str__(self) -> str:
        size = abs(self.mean)
        form = ".3f" if not size >= 100 else ".1f" if size < 1e7 else ".4g"
        form = ".2e" if 0 < size < 5e-4 else form  # an error in small units of a label, not 0
        mean = format(self.mean, form)
        return mean if self.repeats == 1 else f"{mean} ± {self.sd:{form}}"


def only(scores: Sequence[Score], *, protocol: str | None = None, input: str | None = None) -> list[Score]:
    """Return the scores of a protocol, of an input, or of both."""
    return [s for s in scores if protocol in (None, s.protocol) and input in (None, s.input)]


def groups_of(scores: Sequence[Score]) -> list[tuple[str, str]]:
    """Return the pairs of protocol and input of the scores, in order of appearance."""
    return list(dict.fromkeys((score.protocol, score.input) for score in scores))


def methods_of(scores: Sequence[Score]) -> list[str]:
    """Return the methods, in order of appearance."""
    return list(dict.fromkeys(score.method for score in scores))


def budgets_of(scores: Sequence[Score]) -> list[str]:
    """Return the budgets, in order of appearance."""
    return list(dict.fromkeys(score.budget for score in scores))


def repeats_of(scores: Sequence[Score]) -> str:
    """Return what the spread is over: "seed" if the scores have several, else "fold" if several, else "draw"."""
    if len({score.seed for score in scores}) > 1:
        return "seed"
    return "fold" if len({score.fold for score in scores}) > 1 else "draw"


def by_repeat(scores: Sequence[Score], method: str, budget: str, metric: str = "top1") -> dict[int, float]:
    """Return a method's score for every seed (the mean over its folds and draws), fold, or draw; see `repeats_of`."""
    values: dict[int, list[float]] = {}
    for score in scores:
        if (score.method, score.budget) == (method, budget):
            values.setdefault(getattr(score, repeats_of(scores)), []).append(score.metrics[metric])
    return {repeat: float(np.mean(v)) for repeat, v in sorted(values.items())}


def _cell(values: Sequence[float]) -> ScoreCell:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return ScoreCell(float(np.mean(values)), sd, len(values))


def summarise(scores: Sequence[Score], metric: str = "top1") -> dict[str, dict[str, ScoreCell]]:
    """Return `{method: {budget: cell}}` of the scores of one protocol, input and label; unmeasured pairs are absent.

    Raises:
      ValueError: the scores are of several protocols, inputs, labels or shares of hidden cells, whose mean would mean
        nothing.
    """
    if len(groups_of(scores)) > 1 or len({(score.label, score.missing, score.missing_by) for score in scores}) > 1:
        raise ValueError(f"scores of several protocols, inputs, labels or hidden cells: {groups_of(scores)}")
    cells: dict[str, dict[str, ScoreCell]] = {}
    for method in methods_of(scores):
        by_budget = {budget: by_repeat(scores, method, budget, metric) for budget in budgets_of(scores)}
        cells[method] = {budget: _cell(list(values.values())) for budget, values in by_budget.items() if values}
    return cells


def paired(
    scores: Sequence[Score], first: str, second: str, budget: str, metric: str = "top1"
) -> tuple[ScoreCell, int]:
    """Return `first - second` over the repeats that both have, and the number of repeats where it is above 0.

    The cell's `interval` is the 95 % t-interval of the paired difference.
    """
    values, others = by_repeat(scores, first, budget, metric), by_repeat(scores, second, budget, metric)
    differences = [values[repeat] - others[repeat] for repeat in values if repeat in others]
    return _cell(differences), sum(difference > 0 for difference in differences)


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of texts: a title, a head, rows whose first `labels` cells name the row, and a note below."""

    title: str
    head: list[str]
    rows: list[list[str]]
    labels: int = 1
    note: str = ""

    def blocks(self, width: int) -> list["Grid"]:
        """Divide the columns into blocks of at most `width` characters (or one column), each with the label cells."""
        sizes = [3 + max(map(len, cells)) for cells in zip(self.head, *self.rows, strict=True)]
        labels = list(range(self.labels))
        blocks, left = list[list[int]](), 0
        for column in range(self.labels, len(self.head)):
            left -= sizes[column]
            if left < 0 or not blocks:
                blocks.append([*labels])
                left = width - 1 - sum(sizes[: self.labels]) - sizes[column]
            blocks[-1].append(column)

        def some(cells: list[str], columns: list[int]) -> list[str]:
            return [cells[column] for column in columns]

        return [
            dataclasses.replace(self, head=some(self.head, columns), rows=[some(row, columns) for row in self.rows])
            for columns in blocks
        ]

    def render(self, *, plain: bool) -> str:
        """Return the table for the terminal or, if `plain`, as a Markdown table for scripts; no cell is wrapped."""
        table = Table(box=box.MARKDOWN if plain else box.HEAVY_HEAD)
        for index, name in enumerate(self.head):
            table.add_column(name, justify="left" if index < self.labels else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        console = Console(file=io.StringIO(), width=_WIDEST, record=True, color_system=None, markup=False, emoji=False)
        console.print(table, highlight=False)
        return "\n".join(line.rstrip() for line in console.export_text().splitlines() if line.strip())


def accuracy_grid(scores: Sequence[Score], metric: str = "top1", *, label: str = "") -> Grid:
    """Return the table of one protocol, input and label: a row per method, a column per budget.

    Args:
      scores: of one protocol, input and label.
      metric: on test.
      label: its name in the title; empty if there is only one label.
    """
    protocol, _ = groups_of(scores)[0]
    over = {"seed": "pretraining seeds", "fold": "folds", "draw": "draws of labels"}[repeats_of(scores)]
    folds = len({score.fold for score in scores})
    over += f", each of the mean over {folds} folds" if repeats_of(scores) == "seed" and folds > 1 else ""
    cells = summarise(scores, metric)
    repeats = max(cell.repeats for row in cells.values() for cell in row.values())
    spread = f", mean ± sd over {repeats} {over}" if repeats > 1 else ""
    title = f"{title_of(scores, metric, label)}{spread}"
    budgets = budgets_of(scores)
    rows = [
        [visible(method), *(str(row[budget]) if budget in row else "" for budget in budgets)]
        for method, row in cells.items()
    ]
    columns = [visible(budget if protocol == "retrieval" else f"labels: {budget}") for budget in budgets]
    return Grid(title, ["features", *columns], rows, note=" ".join(filter(None, [_absent(scores), _shared(scores)])))


def fold_grid(scores: Sequence[Score], metric: str, *, label: str = "") -> Grid:
    """Return the table of runs that were trained on folds: a row per method and budget, a column per fold.

    Args:
      scores: of one protocol, input and label.
      metric: on test.
      label: its name in the title; empty if there is only one label.
    """
    folds = sorted({score.fold for score in scores if score.fold is not None})
    rows = []
    for method, budget in itertools.product(methods_of(scores), budgets_of(scores)):
        part = [score for score in scores if (score.method, score.budget) == (method, budget)]
        by_fold = [[score.metrics[metric] for score in part if score.fold == fold] for fold in folds]
        if part:
            rows.append(
                [visible(method), visible(budget), *(str(_cell([float(np.mean(v))])) if v else "" for v in by_fold)]
            )
    return Grid(
        f"{title_of(scores, metric, label)}, by fold",
        ["features", "labels", *(f"fold {fold}" for fold in folds)],
        rows,
        labels=2,
    )


def by_rate(scores: Sequence[Score], by: str) -> dict[float, list[Score]]:
    """Return the scores by the share of the table that the strategy `by` hid, ascending; those of whole rows are 0."""
    rates = sorted({score.missing for score in scores if score.missing_by == by} | {0.0})
    parts = {rate: [s for s in scores if (s.missing, s.missing_by) == (rate, by if rate else "")] for rate in rates}
    return {rate: part for rate, part in parts.items() if part}


def missing_grid(scores: Sequence[Score], metric: str, by: str, *, label: str = "") -> Grid:
    """Return the table of one strategy of hidden cells: a row per method and budget, a column per share.

    Args:
      scores: of one protocol, input and label, by any strategies.
      metric: on test.
      by: the strategy; see `missingness.STRATEGIES`.
      label: its name in the title; empty if there is only one label.
    """
    parts = by_rate(scores, by)
    cells = {rate: summarise(part, metric) for rate, part in parts.items()}
    rows = []
    for method, budget in itertools.product(methods_of(scores), budgets_of(scores)):
        row = [str(table[method][budget]) if budget in table.get(method, {}) else "" for table in cells.values()]
        if any(row):
            rows.append([visible(method), visible(budget), *row])
    head = ["features", "labels", *(f"{100 * rate:g} % hidden" for rate in parts)]
    hidden = [score for score in scores if score.missing_by == by]
    orders = list(dict.fromkeys(", ".join(columns) for score in hidden for columns in score.order.values()))
    note = f"Columns in the order in which they are hidden: {visible(orders[0])}." if len(orders) == 1 else ""
    return Grid(f"{title_of(scores, metric, label)}, {_STRATEGIES[by]}", head, rows, labels=2, note=note)


def title_of(scores: Sequence[Score], metric: str, label: str) -> str:
    """Return the protocol, the input, the metric and the label in words."""
    protocol, input = groups_of(scores)[0]
    words = f"{protocol_words(protocol, input, scores[0].task)}, test {NAMES.get(metric, metric.replace('_', ' '))}"
    return f"{words} of {visible(label)}" if label else words


def protocol_words(protocol: str, input: str, task: str = "") -> str:
    """Return a protocol and an input in words, such as "Linear probe on images"; that of boxes is not linear."""
    if protocol == "probe" and issubclass(TASKS.get(task, Task), Detection):
        return f"YOLO on the frozen encoder on {_inputs(input)}"
    return f"{_PROTOCOLS[protocol]} on {_inputs(input)}"


def _shared(scores: Sequence[Score]) -> str:
    """Return a warning on the spread over folds; "" for other spreads."""
    if repeats_of(scores) != "fold":
        return ""
    return (
        "Folds share training rows, so their scores are not independent: ± is the spread over folds, and no interval "
        "of the mean follows from it."
    )


def _inputs(input: str) -> str:
    """Return the names of an input in words, such as "images and tables"."""
    modalities = modalities_of(input)
    plural = {"image": "images", "table": "tables"}
    words = [plural.get(modality, visible(modality)) for modality in modalities]
    named = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"an ensemble of {named}" if is_ensemble(input) else named


def _absent(scores: Sequence[Score]) -> str:
    """Return a sentence on the classes without rows; "" if every class has some."""
    lacking: dict[str, list[str]] = {}
    for score in scores:
        for split, texts in score.absent.items():
            names_of_split = lacking.setdefault(split, [])
            names_of_split += [text for text in texts if text not in names_of_split]
    if not lacking:
        return ""
    by_split = "; ".join(f"{split}: {names(texts)}" for split, texts in lacking.items())
    counts = sorted({int(score.metrics["labels_in_macro"]) for score in scores if "labels_in_macro" in score.metrics})
    if counts:
        labels = sum(name.startswith("auroc/") for name in scores[0].metrics)
        over = f"{' or '.join(map(str, counts))} of {labels} labels"
        return f"Classes without rows: {by_split}. Macro averages are over {over}: those with both classes in test."
    return f"Classes without rows: {by_split}. Top-1 is over all rows, other metrics over the classes that test has."


def _table_of(score: Score) -> tuple[str, str, str, str, float, str]:
    """Return what the scores of one table of details have in common."""
    return score.label, score.task, score.protocol, score.input, score.missing, score.missing_by


def detail_grids(scores: Sequence[Score]) -> list[Grid]:
    """Return the tables of further metrics (`Task.details`): a row per method and budget, a column per metric.

    Each share and strategy of hidden cells has tables of its own. Scores of earlier versions have no such metrics, and
    no table.
    """
    labels = list(dict.fromkeys(score.label for score in scores if score.label and score.protocol != "confounding"))
    tables = []
    for key in dict.fromkeys(map(_table_of, scores)):
        part = [score for score in scores if _table_of(score) == key]
        label, task, *_, rate, by = key
        details = TASKS[task].details if task in TASKS else Details()
        metrics = [metric for metric in details.metrics if all(metric in score.metrics for score in part)]
        every = list(dict.fromkeys(metric for score in part for metric in score.metrics))
        metrics += [metric for metric in every if details.each and metric.startswith(f"{details.each}/")]
        if not metrics:
            continue
        cells = {metric: summarise(part, metric) for metric in metrics}
        rows = [
            [visible(method), visible(budget), *(str(cells[metric][method][budget]) for metric in metrics)]
            for method, budget in itertools.product(methods_of(part), budgets_of(part))
            if budget in cells[metrics[0]][method]
        ]
        words = title_of(part, details.title, label if len(labels) > 1 else "")
        words += f", {_STRATEGIES[by]}: {100 * rate:g} %" if rate else ""
        tables.append(Grid(words, ["features", "labels", *(SHORT.get(m, m) for m in metrics)], rows, labels=2))
    return tables


def retrieval_grid(scores: Sequence[Score]) -> Grid:
    """Return the table of retrieval: a row per method and direction, a row for chance, and a column per metric."""
    measures = {
        "recall@1": "recall at 1",
        "recall@5": "recall at 5",
        "recall@10": "recall at 10",
        "median_rank": "median rank",
    }
    first, second = _sides(scores[0])
    over = {"seed": ", mean ± sd over pretraining seeds", "fold": ", mean ± sd over folds", "draw": ""}
    spread = over[repeats_of(scores)]
    rows = []
    for method in methods_of(scores):
        for query, candidate in ((first, second), (second, first)):
            cells = [summarise(scores, f"{query}_to_{candidate}_{name}")[method][scores[0].budget] for name in measures]
            rows.append([visible(method), f"{query} to {candidate}", *map(str, cells)])
    rows.append(["chance", "", *(f"{scores[0].metrics[f'chance_{name}']:.3f}" for name in measures)])
    title = f"Retrieval of the test split's {_inputs(f'{first}+{second}')}{spread}"
    return Grid(title, ["projections", "from", *measures.values()], rows, labels=2, note=_shared(scores))


def _sides(score: Score) -> tuple[str, str]:
    """Return the two names of a retrieval score, which are joined by "-" and may contain a "-" themselves."""
    words = score.input.split("-")
    sides = [("-".join(words[:at]), "-".join(words[at:])) for at in range(1, len(words))]
    return next(pair for pair in sides if "{}_to_{}_recall@1".format(*pair) in score.metrics)


def grids(scores: Sequence[Score]) -> list[Grid]:
    """Return the tables: for every label, protocol and input the two metrics that the task shows, and retrieval.

    Labels that are predicted are named in titles where there are several. Scores with hidden cells have a table for
    each strategy.
    """
    labels = list(dict.fromkeys(score.label for score in scores if score.label and score.protocol != "confounding"))
    tables = []
    for label, protocol, input in dict.fromkeys((score.label, score.protocol, score.input) for score in scores):
        part = [score for score in only(scores, protocol=protocol, input=input) if score.label == label]
        if protocol == "confounding":
            continue  # `confounding_grids` has one table of all covariates
        if protocol == "retrieval":
            tables.append(retrieval_grid(part))
        else:
            name, whole = label if len(labels) > 1 else "", [score for score in part if not score.missing]
            tables += [accuracy_grid(whole, metric, label=name) for metric in shown(part[0])] if whole else []
            if len({score.fold for score in whole}) > 1:
                tables.append(fold_grid(whole, shown(part[0])[0], label=name))
            for by in dict.fromkeys(score.missing_by for score in part if score.missing):
                tables += [missing_grid(part, metric, by, label=name) for metric in shown(part[0])]
    return tables


def means(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return the mean and the spread of every metric, for each label, protocol, input, method, budget and missingness.

    Each item names these, the "metric", its "mean", its "sd" over "repeats", and what the repeats are "over": seeds,
    folds or draws. The sd is NaN for one repeat.
    """
    rows = []
    keys = ("label", "protocol", "input", "missing", "missing_by")
    for key in dict.fromkeys(tuple(getattr(score, name) for name in keys) for score in scores):
        part = [score for score in scores if tuple(getattr(score, name) for name in keys) == key]
        for metric in dict.fromkeys(metric for score in part for metric in score.metrics):
            having = [score for score in part if metric in score.metrics]
            for method, cells in summarise(having, metric).items():
                for budget, cell in cells.items():
                    names = {**dict(zip(keys, key, strict=True)), "method": method, "budget": budget}
                    rows.append({**names, "metric": metric, **dataclasses.asdict(cell), "over": repeats_of(having)})
    return rows


def shown(score: Score) -> tuple[str, str]:
    """Return the two metrics that tables show for the task of a score, which scores of earlier versions do not name."""
    return TASKS[score.task or ("number" if "mse" in score.metrics else "class")].shown


def show(tables: Sequence[Grid], console: Console) -> None:
    """Print tables in blocks as wide as the console (in a pipe 80 characters, or the variable `COLUMNS`)."""
    for grid in tables:
        _log("\n" + textwrap.fill(grid.title, console.width), console)
        for block in grid.blocks(console.width):
            _log(block.render(plain=not console.is_terminal) + "\n", console)
        if grid.note:
            _log(textwrap.fill(grid.note, console.width), console)


def _log(text: str, console: Console) -> None:
    console.out(text, highlight=False)
