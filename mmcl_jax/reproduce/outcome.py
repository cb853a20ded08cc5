"""The numbers of a table with their meaning in words, as the text, the page and the results file show them."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.evaluation.sources.remarks import names
from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce import grid
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.plan import Plan, read_evaluation
from mmcl_jax.reproduce.published import TARGETS, target_of
from mmcl_jax.reproduce.spec import (
    COLUMNS_USED,
    COUNTS,
    INFLATION,
    Contrast,
    Published,
    TableColumn,
    TableRow,
    difference,
)
from mmcl_jax.reproduce.work.tune import Trial
from mmcl_jax.tasks import Class, MultiLabel, Ordinal

PROTOCOLS = {
    "probe": "Frozen: a linear head on frozen features of images that are not augmented (the paper augments them).",
    "finetune": "Trainable: encoder and linear head are trained, on augmented images, as in the paper.",
}
PROTOCOLS_OF_TABLES = {
    "probe": "Frozen: a linear head on frozen features of the table.",
    "finetune": "Trainable: table encoder and linear head are trained.",
}
USED = (
    "A column is shuffled over the test rows, which moves the features of a frozen encoder, or the predictions of an "
    "encoder and head that were trained for the label. Counted are the pairs of a column of noise and another column "
    "in which the noise moves them less."
)
RIVALS = (
    "Rivals are trained on the columns alone, with the same labels and folds; each has as many trials as our methods "
    "have learning rates, unless --trials or --learning-rates says otherwise."
)


INFLATED = 1.1  # the inflation above which the counts of a method stand in brackets, as in ContIG


@dataclasses.dataclass(frozen=True)
class ColumnTest:
    """What a column with a label of its own, or an analysis, is tested on.

    Attributes:
      metric: the primary metric of its task, or the metric of the analysis.
      labels: number of labels that are predicted together.
      test: the size of its test set; None with folds, and of an analysis.
    """

    metric: str
    labels: int
    test: grid.Sample | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOutcome:
    """A table whose evaluations are all finished.

    Attributes:
      plan: of the table.
      variant: of the configs.
      title: of the page.
      metric: of columns that name none, such as "top1"; of columns with labels of their own, that of the first.
      test: the size of the test set, of the first column; None with folds.
      scores: by row and column.
      seconds: that each evaluation took, by row, column and seed (and fold).
      trials: of pretraining, of which the settings of the methods were chosen; empty if they were given.
      used: by row and column, the use of every column of the table at every repeat (see `columns_used`).
      tested: by column, of columns with labels of their own, and of analyses.
      details: by row and column, what records of analyses have beside scores, at every repeat.
    """

    plan: Plan
    variant: str
    title: str
    metric: str
    test: grid.Sample | None
    scores: Mapping[tuple[str, str], list[Score]]
    seconds: Mapping[tuple[str, str, grid.Repeat], float]
    used: Mapping[tuple[str, str], list[Mapping[str, float]]] = dataclasses.field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    tested: Mapping[str, ColumnTest] = dataclasses.field(default_factory=dict)
    details: Mapping[tuple[str, str], list[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def cells(self) -> dict[tuple[str, str], grid.GridCell]:
        """The cells by row and column: the metric by seed and fold, the mean over draws of labels."""
        measures = {column.key: self.measure(column) for column in self.plan.table.columns}
        return {cell: grid.GridCell.of(scores, measures[cell[1]]) for cell, scores in self.scores.items()}

    def measure(self, column: TableColumn) -> Measure:
        """Return the metric of a column."""
        of = self.tested.get(column.key, ColumnTest(self.metric, 1, self.test))
        return Measure.of(column.metric or of.metric, primary=of.metric, labels=of.labels)

    @property
    def main(self) -> Measure:
        """The metric of all columns or, if they differ, the primary metric of the label."""
        measures = {self.measure(column) for column in self.plan.table.columns}
        return measures.pop() if len(measures) == 1 else Measure(self.metric)

    @property
    def mixed(self) -> bool:
        """Whether columns have labels of their own and different metrics, which their headings name."""
        return bool(self.tested) and len({self.measure(column) for column in self.plan.table.columns}) > 1

    def heading(self, column: TableColumn) -> str:
        """Return the heading of a column within a text; of columns that name metrics and data sets, as it is."""
        return column.heading if self.tested else column.heading.lower()

    @property
    def repeats(self) -> int:
        """The number of seeds, or of seeds and folds."""
        return self.seeds * max(1, self.plan.folds)

    @property
    def repeat(self) -> str:
        """What a repeat is called."""
        if not self.plan.folds:
            return "seed"
        return "fold" if self.seeds == 1 else "seed and fold"

    @property
    def seeds(self) -> int:
        """The number of pretraining seeds."""
        return len({training.seed for training in self.plan.trainings})

    @property
    def target(self) -> str:
        """The target whose published numbers stand beside ours."""
        label = self.plan.settings.label
        return self.plan.table.target or target_of(self.variant, label, number=self.metric == "mse")

    @property
    def own_target(self) -> bool:
        """Whether the published numbers are of our data, or of data that ours imitate (such as drawn cars)."""
        if self.plan.table.target:
            return self.variant in ("ukb", "mimic")
        return self.variant in ("dvm", "cardiac") and self.target != "HIPMP"

    @property
    def has_published(self) -> bool:
        """Whether the paper has numbers for any of our rows or differences."""
        contrasts = [contrast for claim in self.plan.table.claims for contrast in claim.contrasts]
        return self.has_published_rows or any(self.target in contrast.published for contrast in contrasts)

    @property
    def has_published_rows(self) -> bool:
        """Whether the paper has numbers for any of our rows."""
        return any(self.published(row, column) for row in self.plan.rows for column in self.plan.table.columns)

    @property
    def published_as(self) -> str:
        """The heading of the published numbers."""
        return f"published, {TARGETS[self.target]}"

    def spread(self, row: TableRow, column: TableColumn) -> grid.Spread | None:
        """Return the spread of a cell over seeds; None if the table has no such cell."""
        return self.contrast(Contrast(row.label, ((row.key, column.key, 1.0),)))

    def inflated(self, row: TableRow) -> bool:
        """Whether the statistics of a row are inflated, so that what it finds may come from no variant."""
        columns = [column for column in self.plan.table.columns if self.measure(column).metric == INFLATION]
        return any((of := self.spread(row, column)) is not None and of.mean > INFLATED for column in columns)

    def written(self, row: TableRow, column: TableColumn) -> str:
        """Return the text of a cell; the counts of an inflated row stand in brackets."""
        measure = self.measure(column)
        text = plus_minus(self.spread(row, column), measure)
        return f"({text})" if measure.metric in COUNTS and text != "–" and self.inflated(row) else text

    def published(self, row: TableRow, column: TableColumn) -> Published | None:
        """Return the number that the paper reports."""
        return row.published.get(self.target, {}).get(column.key)

    def contrast(self, contrast: Contrast) -> grid.Spread | None:
        """Return a difference of cells, paired by seed and, if their contributions were recorded, by test row.

        All cells of a contrast are tested on the same rows.
        """
        key = contrast.weights[0][1]
        return grid.contrast(self.cells, contrast, self.tested[key].test if key in self.tested else self.test)

    def to_reference(self, row: TableRow, column: TableColumn) -> grid.Spread | None:
        """Return the row minus the reference row, paired by seed; None for the reference row."""
        reference = self.plan.table.row(self.plan.table.reference)
        return None if row.key == reference.key else self.contrast(difference(row, reference, column))

    @property
    def spread_note(self) -> str:
        """A sentence on what our numbers are means over, and what ± is, in our numbers and in the published ones."""
        draws = {self.heading(column): self._draws(column) for column in self.plan.table.columns}
        if len(set(draws.values())) == 1:
            counts = counted(next(iter(draws.values())), "draw")
        else:
            counts = ", ".join(f"{heading} {counted(count, 'draw')}" for heading, count in draws.items())
        seeds = (
            f"mean ± sd over {counted(self.seeds, 'pretraining seed')}"
            if self.repeats > 1
            else "one pretraining seed, so there is no spread and no interval"
        )
        if self.plan.folds:
            seeds += f" and {counted(self.plan.folds, 'fold')}, on each of which pretraining and statistics are anew"
        theirs = f" {self.plan.table.theirs}" if self.has_published_rows else ""
        if self.plan.table.analyses:
            return f"Ours: {seeds}.{theirs}"
        one = f"a {self.repeat} is the mean over its draws of labels and heads ({counts})"
        return f"Ours: {seeds}; {one}.{theirs}"

    def _draws(self, column: TableColumn) -> int:
        """Return the largest number of draws that a row has at a seed in this column."""
        numbers = [score.draw for (_, key), scores in self.scores.items() if key == column.key for score in scores]
        return 1 + max(numbers, default=0)

    @property
    def protocol_note(self) -> str:
        """Sentences on how the columns were evaluated."""
        if self.plan.table.notes:
            return " ".join(filter(None, [self.plan.table.notes, self._replaced_note, self.absent_note]))
        image = any("image" in modalities_of(column.input) for column in self.plan.table.columns)
        protocols = [
            (PROTOCOLS if image else PROTOCOLS_OF_TABLES)[name]
            for name in dict.fromkeys(column.protocol for column in self.plan.table.columns)
        ]
        if any(row.rival for row in self.plan.rows):
            protocols.append(RIVALS)
        if self.main.metric == COLUMNS_USED:
            protocols = [USED]
        by_loss = any("val_log_loss" in score.metrics for scores in self.scores.values() for score in scores)
        by = "log loss, since all rows have one class," if by_loss else Measure(self.metric).name
        chosen = f"Settings are chosen by {by} on validation."
        return " ".join([*protocols, chosen, *([self.absent_note] if self.absent_note else [])])

    @property
    def _replaced_note(self) -> str:
        """A sentence on settings of the columns that the command replaced; empty if there are none."""
        rates, epochs = self.plan.settings.learning_rates, self.plan.settings.max_epochs
        given = [
            *([f"the learning rates {', '.join(f'{rate:g}' for rate in rates)}"] if rates else []),
            *([f"at most {counted(epochs, 'epoch')}"] if epochs else []),
        ]
        return f"In place of these, the command set {' and '.join(given)} for all columns." if given else ""

    @property
    def absent_note(self) -> str:
        """A sentence on the classes without test rows; empty if every class has some."""
        every = (score.absent.get("test", []) for scores in self.scores.values() for score in scores)
        if self.tested:
            lacking = {
                score.label: texts
                for scores in self.scores.values()
                for score in scores
                if (texts := score.absent.get("test", []))
            }
            return " ".join(
                f"No test row is of {counted(len(texts), 'class', 'classes')} of {label!r} ({names(texts)})."
                for label, texts in lacking.items()
            )
        texts = next((absent for absent in every if absent), [])
        classes = counted(len(texts), "class", "classes")
        return f"No test row is of {classes} of the label ({names(texts)})." if texts else ""

    @property
    def caution(self) -> str:
        """A sentence for tables whose published numbers are of other data than ours; else empty."""
        if self.own_target or not self.has_published:
            return ""
        return (
            f"The paper has no numbers for these data: those of {TARGETS[self.target]} stand beside ours for "
            "orientation, and are not what to expect here."
        )


def gather(plan: Plan, *, variant: str, title: str, trials: tuple[Trial, ...] = ()) -> TableOutcome:
    """Return the outcome of a plan whose evaluations are all finished."""
    columns = plan.table.columns if plan.table.own_labels else plan.table.columns[:1]
    labelled = {column.key: plan.labelled(column, plan.fold_numbers[0]) for column in columns if not column.analysis}
    data = next(iter(labelled.values()), None)
    tested = {
        key: ColumnTest(metric_of(one), len(one.columns) or 1, None if plan.folds else test_set(one))
        for key, one in labelled.items()
        if plan.table.own_labels
    }
    tested |= {column.key: ColumnTest(column.metric, 1, None) for column in columns if column.analysis}
    scores: dict[tuple[str, str], list[Score]] = {}
    seconds, used = {}, dict[tuple[str, str], list[Mapping[str, float]]]()
    details: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for evaluation in plan.evaluations:
        record = read_evaluation(evaluation)
        assert record is not None, evaluation.path
        row, column = evaluation.row.key, evaluation.column.key
        if record.columns is not None:
            used.setdefault((row, column), []).append(record.columns)
        if record.details is not None:
            details.setdefault((row, column), []).append(record.details)
        scores.setdefault((row, column), []).extend(record.scores)
        fold = evaluation.training.fold
        seconds[row, column, evaluation.seed if fold is None else (evaluation.seed, fold)] = record.seconds
    return TableOutcome(
        plan=plan,
        variant=variant,
        title=title,
        metric=plan.table.columns[0].metric if data is None else metric_of(data),
        test=None if plan.folds or data is None else test_set(data),
        scores=scores,
        seconds=seconds,
        used=used,
        trials=trials,
        tested=tested,
        details=details,
    )


def metric_of(data: LabelledStore) -> str:
    """Return the metric of a table: the task's primary metric, even if validation has only one of two classes."""
    task = data.task
    return (
        dataclasses.replace(task, one_class=False) if isinstance(task, Class | Ordinal | MultiLabel) else task
    ).primary


def test_set(data: LabelledStore) -> grid.Sample:
    """Return the size of the test set, in people if a person may have several rows.

    With one label of two classes, the smaller class limits the metric.
    """
    targets, people = data.targets["test"], data.people("test")
    people = np.arange(len(targets)) if people is None else people
    rows = len(np.unique(people))
    if len(data.columns) != 1 or len(data.columns[0].categories) != 2:
        return grid.Sample(rows=rows, smallest=rows)
    return grid.Sample(rows=rows, smallest=min(len(np.unique(people[targets == code])) for code in (0, 1)))


def plus_minus(spread: grid.Spread | None, measure: Measure) -> str:
    """Return a text such as `91.43 ± 0.13`."""
    return "–" if spread is None else measure.written(spread.mean, spread.sd)


def signed(spread: grid.Spread) -> str:
    """Return a text such as `+1.20 [+0.30, +2.10]`; of a single seed, which has no interval, such as `+1.20`."""
    if math.isnan(spread.mean):
        return "diverged"
    interval = "" if math.isnan(spread.low) else f" [{rounded(spread.low):+.2f}, {rounded(spread.high):+.2f}]"
    return f"{rounded(spread.mean):+.2f}{interval}"


def rounded(value: float) -> float:
    """Round to two decimals, and never to -0."""
    return round(value, 2) + 0.0
