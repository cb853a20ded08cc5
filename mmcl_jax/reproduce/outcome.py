"""A table with all its numbers, as the text, the page and the results file show them."""

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.remarks import names
from mmcl_jax.page.wording import counted
from mmcl_jax.reproduce import grid, ledger
from mmcl_jax.reproduce.plan import Plan
from mmcl_jax.reproduce.tables.published import TARGETS, target_of
from mmcl_jax.reproduce.tables.spec import Contrast, Published, TableColumn, TableRow, difference
from mmcl_jax.tasks import Class

METRICS = {"top1": "top-1 accuracy", "auroc": "AUROC"}
PROTOCOLS = {
    "probe": "Frozen: a linear head on frozen features of images that are not augmented (the paper augments them).",
    "finetune": "Trainable: encoder and linear head are trained, on augmented images, as in the paper.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOutcome:
    """What was asked for (`plan`, `variant`, `title`), the `metric`, the `test` set, and `scores` by row and column."""

    plan: Plan
    variant: str
    title: str
    metric: str
    test: grid.Sample
    scores: Mapping[tuple[str, str], list[Score]]
    seconds: Mapping[tuple[str, str, int], float]

    @functools.cached_property
    def cells(self) -> dict[tuple[str, str], grid.GridCell]:
        """Percent by row, column and seed: the mean over draws of labels."""
        return {cell: grid.GridCell.of(scores, self.metric) for cell, scores in self.scores.items()}

    @property
    def seeds(self) -> int:
        """How many seeds of pretraining there are."""
        return len({training.seed for training in self.plan.trainings})

    @property
    def target(self) -> str:
        """Whose published numbers are shown."""
        return target_of(self.variant, self.plan.how.label)

    @property
    def own_target(self) -> bool:
        """Whether the published numbers are of the data at hand (or of data in its format, such as drawn cars)."""
        return self.variant in ("dvm", "cardiac")

    @property
    def has_published(self) -> bool:
        """Whether there are any for the rows at hand."""
        return any(self.published(row, column) for row in self.plan.rows for column in self.plan.table.columns)

    @property
    def published_as(self) -> str:
        """The heading of the published numbers."""
        return f"published, {TARGETS[self.target]}"

    def spread(self, row: TableRow, column: TableColumn) -> grid.Spread | None:
        """Return a cell over seeds; None if the table has no value for it."""
        return self.contrast(Contrast(row.label, ((row.key, column.key, 1.0),)))

    def published(self, row: TableRow, column: TableColumn) -> Published | None:
        """Return the number that the paper reports."""
        return row.published.get(self.target, {}).get(column.key)

    def contrast(self, what: Contrast) -> grid.Spread | None:
        """Return a difference of cells, paired by seed and, where rows are known, by test row."""
        return grid.contrast(self.cells, what, self.test)

    def to_reference(self, row: TableRow, column: TableColumn) -> grid.Spread | None:
        """Return the difference of the row to the reference row, paired by seed."""
        reference = self.plan.table.row(self.plan.table.reference)
        return None if row.key == reference.key else self.contrast(difference(row, reference, column))

    @property
    def spread_is_over(self) -> str:
        """What a number of ours, and ± on either side, mean."""
        draws = {column.heading.lower(): self._draws(column) for column in self.plan.table.columns}
        if len(set(draws.values())) == 1:
            said = counted(next(iter(draws.values())), "draw")
        else:
            said = ", ".join(f"{heading} {counted(count, 'draw')}" for heading, count in draws.items())
        seeds = (
            f"mean ± sd over {self.seeds} pretraining seeds"
            if self.seeds > 1
            else "one pretraining seed, so there is no spread and no interval"
        )
        theirs = " Theirs: over five fine-tuning seeds of one pretrained model." if self.has_published else ""
        return f"Ours: {seeds}; a seed is the mean over its draws of labels and heads ({said}).{theirs}"

    def _draws(self, column: TableColumn) -> int:
        """Return the largest number of draws that a row has at a seed in this column."""
        numbers = [one.draw for (_, key), scores in self.scores.items() if key == column.key for one in scores]
        return 1 + max(numbers, default=0)

    @property
    def protocols(self) -> str:
        """How the columns were evaluated."""
        said = [PROTOCOLS[name] for name in dict.fromkeys(column.protocol for column in self.plan.table.columns)]
        by_loss = any("val_log_loss" in score.metrics for scores in self.scores.values() for score in scores)
        by = "log loss, since all rows have one class," if by_loss else METRICS[self.metric]
        chosen = f"Settings are chosen by {by} on validation."
        return " ".join([*said, chosen, *([self.absent] if self.absent else [])])

    @property
    def absent(self) -> str:
        """The classes that no test row is of; empty if there are none."""
        every = (score.absent.get("test", []) for scores in self.scores.values() for score in scores)
        texts = next((found for found in every if found), [])
        classes = counted(len(texts), "class", "classes")
        return f"No test row is of {classes} of the label ({names(texts)})." if texts else ""

    @property
    def orientation(self) -> str:
        """A warning where the published numbers are of other data."""
        if self.own_target or not self.has_published:
            return ""
        return (
            f"The paper has no numbers for these data: those of {TARGETS[self.target]} stand beside ours for "
            "orientation, and are not what to expect here."
        )


def gather(plan: Plan, *, variant: str, title: str) -> TableOutcome:
    """Read all finished evaluations of a plan."""
    data = LabelledStore.of(plan.store, plan.how.label, "class")
    scores: dict[tuple[str, str], list[Score]] = {}
    seconds = {}
    for one in plan.evaluations:
        record = ledger.read(one.path)
        assert record is not None, one.path
        scores.setdefault((one.row.key, one.column.key), []).extend(ledger.scores_of(record))
        seconds[one.row.key, one.column.key, one.seed] = record["seconds"]
    return TableOutcome(
        plan=plan,
        variant=variant,
        title=title,
        metric=metric_of(data),
        test=test_set(data.targets["test"], len(data.columns[0].categories)),
        scores=scores,
        seconds=seconds,
    )


def metric_of(data: LabelledStore) -> str:
    """Return the metric of a table: that which settings are chosen by, where validation has both of two classes."""
    assert isinstance(data.task, Class)
    return dataclasses.replace(data.task, one_class=False).primary


def test_set(targets: np.ndarray, classes: int) -> grid.Sample:
    """Return the size of the test set and, for two classes, of the smaller of them."""
    counts = np.bincount(targets, minlength=classes)
    return grid.Sample(rows=len(targets), smallest=int(counts.min()) if classes == 2 else len(targets))


def plus_minus(one: grid.Spread | None) -> str:
    """Return a text such as `91.43 ± 0.13`."""
    if one is None:
        return "–"
    if math.isnan(one.mean):
        return "diverged"
    return f"{one.mean:.2f}" + ("" if math.isnan(one.sd) else f" ± {one.sd:.2f}")


def signed(one: grid.Spread) -> str:
    """Return a text such as `+1.20 [+0.30, +2.10]`, without the interval if it is missing."""
    if math.isnan(one.mean):
        return "diverged"
    interval = "" if math.isnan(one.low) else f" [{rounded(one.low):+.2f}, {rounded(one.high):+.2f}]"
    return f"{rounded(one.mean):+.2f}{interval}"


def rounded(value: float) -> float:
    """Round to two decimals, and never to -0."""
    return round(value, 2) + 0.0
