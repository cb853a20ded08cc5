"""What stands below the numbers of a table: other metrics, ranks, cost, and the use of the columns."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

from mmcl_jax.evaluation.results.cost import mean_cost, size_of
from mmcl_jax.evaluation.results.ranks import mean_ranks
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.page.wording import count
from mmcl_jax.reproduce.analyses.figures import models, of_person, top_features
from mmcl_jax.reproduce.grid import GridCell, spread
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.outcome import TableOutcome, plus_minus
from mmcl_jax.reproduce.plan import read_training
from mmcl_jax.reproduce.spec import PLANTED, TableColumn, TableRow
from mmcl_jax.training.runs.run import Run

_OTHER = {
    "mse": ("r2", "mae"),
    "top1": ("balanced_accuracy", "log_loss"),
    "auroc": ("top1", "log_loss"),
    "kappa": ("top1", "mae", "kappa_of_batches"),
    "r2": ("r2",),
    "auroc_macro": ("auroc_micro", "auroc_micro_of_batches"),
    "soft_dice": ("dice",),
    PLANTED: ("inflation_largest", "inflation_permuted", "components", "variance", "people"),
}
_FEW = 6  # labels that are shown one by one


@dataclasses.dataclass(frozen=True)
class Beside:
    """A table below the numbers: a title, a sentence, and rows of texts, of which the first is the head."""

    title: str
    lead: str
    rows: list[list[str]]


def beside(outcome: TableOutcome) -> list[Beside]:
    """Return the trials, if there were any, and the tables that the table asks for and that are not empty."""
    made = [_trials(outcome), *(_TABLES[name](outcome) for name in outcome.plan.table.beside)]
    return [one for one in made if len(one.rows) > 1]


def _trials(outcome: TableOutcome) -> Beside:
    """Return the settings that every method was tried with, and their scores."""
    rows = []
    for trial in outcome.trials:
        measure = Measure(trial.metric)
        score = f"{measure.written(measure.factor * trial.score)}{' (chosen)' if trial.chosen else ''}"
        rows.append([trial.label, ", ".join(trial.overrides) or "as configured", trial.column, score])
    names = ", ".join(
        dict.fromkeys(f"{(measure := Measure(one.metric)).name} {measure.unit}" for one in outcome.trials)
    )
    lead = (
        f"Every method was pretrained with as many settings, with the first seed. The best on validation ({names}) "
        "in the column named was pretrained with all seeds."
    )
    return Beside("Trials of pretraining", lead, [["method", "settings", "column", "on validation"], *rows])


def _metrics(outcome: TableOutcome) -> Beside:
    def others(column: TableColumn) -> list[str]:
        tested = outcome.tested.get(column.key)
        several = tested is None or tested.metric != "auroc_macro" or tested.labels > _FEW
        return list(_OTHER.get(tested.metric if tested else outcome.metric, ())) if several else []

    return _further(outcome, "Other metrics", others)


def _labels(outcome: TableOutcome) -> Beside:
    def each(column: TableColumn) -> list[str]:
        tested = outcome.tested.get(column.key)
        names = outcome.plan.settings.label_of(column).split("+")
        of = {"r2": "r2", "auroc_macro": "auroc", "soft_dice": "dice"}.get(tested.metric if tested else "")
        return [f"{of}/{name}" for name in names] if of and 1 < len(names) <= _FEW else []

    return _further(outcome, "Every label", each)


def _further(outcome: TableOutcome, title: str, names: Callable[[TableColumn], list[str]]) -> Beside:
    """Return the metrics that `names` names for a column, as far as scores of the column have them."""
    present: dict[str, set[str]] = {}
    for (_, key), scores in outcome.scores.items():
        present.setdefault(key, set()).update(name for score in scores for name in score.metrics)
    measures = [
        (column, Measure(name, primary=False))
        for column in outcome.plan.table.columns
        for name in names(column)
        if name in present.get(column.key, ())
    ]
    head = ["method", *(f"{outcome.heading(column)}: {measure.name}" for column, measure in measures)]
    rows = []
    for row in outcome.plan.rows:
        texts = []
        for column, measure in measures:
            of_cell = outcome.scores.get((row.key, column.key))
            cell = GridCell.of(of_cell, measure) if of_cell else None
            texts.append(plus_minus(spread(list(cell.values.values())) if cell else None, measure))
        rows.append([row.label, *texts])
    units = ", ".join(dict.fromkeys(f"{measure.name} {measure.unit}" for _, measure in measures))
    return Beside(title, f"On test: {units}.", [head, *rows] if measures else [])


def _ranks(outcome: TableOutcome) -> Beside:
    rows = []
    for column in outcome.plan.table.columns:
        measure = outcome.measure(column)
        labels = {row.key: row.label for row in outcome.plan.rows if (row.key, column.key) in outcome.cells}
        cells = {key: outcome.cells[key, column.key] for key in labels}
        repeats = sorted(set.intersection(*(set(cell.values) for cell in cells.values()))) if cells else []
        sign = -1 if measure.lower else 1
        ranks = mean_ranks([{key: sign * cell.values[repeat] for key, cell in cells.items()} for repeat in repeats])
        rows += [[column.heading, labels[key], f"{rank:.2f}"] for key, rank in ranks.items()]
    lead = f"The mean over every {outcome.repeat}; 1 is the best."
    return Beside("Mean ranks", lead, [["column", "method", "mean rank"], *rows])


def _cost(outcome: TableOutcome) -> Beside:
    columns = outcome.plan.table.columns
    head = ["method", "pretraining", *(outcome.heading(column) for column in columns), "size"]
    rows = [
        [
            row.label,
            _pretraining(outcome, row),
            *(_seconds(outcome, row, column) for column in columns),
            _size(outcome, row),
        ]
        for row in outcome.plan.rows
    ]
    lead = (
        f"Wall time per {outcome.repeat}, of all trials, with compilation. The size is that of the table encoder, or "
        "of the model that validation chose."
    )
    return Beside("Cost", lead, [head, *rows])


def _pretraining(outcome: TableOutcome, row: TableRow) -> str:
    records = [read_training(training) for training in outcome.plan.trainings if training.row.key == row.key]
    seconds = [record["seconds"] for record in records if record]
    return f"{np.mean(seconds):,.1f} s" if seconds else "–"


def _seconds(outcome: TableOutcome, row: TableRow, column: TableColumn) -> str:
    seconds = [took for (key, of, _), took in outcome.seconds.items() if (key, of) == (row.key, column.key)]
    return f"{np.mean(seconds):,.1f} s" if seconds else "–"


def _size(outcome: TableOutcome, row: TableRow) -> str:
    scores = [score for (key, _), part in outcome.scores.items() if key == row.key for score in part]
    if row.rival:
        return size_of(mean_cost(scores)) if scores and scores[0].cost else "–"
    key = row.key if row.config else outcome.plan.table.reference
    training = next((one for one in outcome.plan.trainings if one.row.key == key), None)
    if training is None or row.baseline in ("columns", "pixels"):
        return "–"
    modalities = modalities_of(next(column.input for column in outcome.plan.table.columns if row.has(column)))
    encoders = nnx.eval_shape(Run.open(training.directory).untrained_model).encoders
    parameters = [nnx.state(encoders[modality], nnx.Param) for modality in modalities]
    return f"{count(sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(parameters)))} parameters"


def _columns(outcome: TableOutcome) -> Beside:
    columns, table = outcome.plan.table.columns, outcome.plan.table
    keys = [(row, column) for column in columns for row in outcome.plan.rows if (row.key, column.key) in outcome.used]
    means = {
        (row.key, column.key): {
            name: float(np.mean([used[name] for used in outcome.used[row.key, column.key]]))
            for name in outcome.used[row.key, column.key][0]
        }
        for row, column in keys
    }
    first = next((means[row.key, column.key] for row, column in keys if row.key == table.reference), {})
    tags = {column.name: ", ".join(column.tags) for column in outcome.plan.store.schema.columns}
    rows = [
        [name, tags.get(name, ""), *(f"{100 * means[row.key, column.key][name]:.1f}" for row, column in keys)]
        for name in sorted(first, key=lambda name: -first[name])
    ]
    head = ["column", "tag", *(f"{row.label.lower()}, {outcome.heading(column)}" for row, column in keys)]
    lead = "How far the output moves if a column is shuffled, in percent of the distance between two rows."
    return Beside("Use of every column", lead, [head, *rows])


def _features(outcome: TableOutcome) -> Beside:
    rows = [
        [f"{row.label} {rank}", feature.name, "yes" if feature.planted else "", f"{feature.value:.2f}"]
        for row, column in models(outcome)
        for rank, feature in enumerate(top_features(outcome, row, column), 1)
    ]
    lead = "The share of all absolute attributions of a model, in percent, the mean over seeds."
    return Beside("Features with the most attribution", lead, [["model, rank", "feature", "planted", "share"], *rows])


def _person(outcome: TableOutcome) -> Beside:
    rows = [
        [f"{row.label}, {key}", feature.name, "yes" if feature.planted else "", f"{feature.value:+.2g}"]
        for row, column in models(outcome)
        for key, features in (of_person(outcome.details[row.key, column.key][0]),)
        for feature in features
    ]
    lead = "Of the first seed. A positive attribution raises the loss of the person, a negative one lowers it."
    return Beside("Attributions of a person", lead, [["model, person", "feature", "planted", "attribution"], *rows])


_TABLES: dict[str, Callable[[TableOutcome], Beside]] = {
    "metrics": _metrics,
    "labels": _labels,
    "ranks": _ranks,
    "cost": _cost,
    "columns": _columns,
    "features": _features,
    "person": _person,
}
