"""The rows of a store that have the label, and the draws of them that methods may learn from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmcl_jax.data.schema import SPLITS, Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class LabelledStore:
    """A store with a label to predict.

    Attributes:
      store: the store.
      task: the prediction of the label.
      rows: per split, the rows `[N]` that have the label.
      targets: per split, their labels `[N]`: int64 class codes, or float64 numbers.
      column: the label; its categories are the texts of the class codes.
    """

    store: Store
    task: Task
    rows: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    column: Column

    @classmethod
    def of(cls, store: Store, label: str | None) -> "LabelledStore":
        """The store with this label, by default its first that is a class, or its first.

        Raises:
          UserError: there is no such label, a split has no row with it, or the training rows no two values of it.
        """
        column = _label(store, label)
        rows, targets = {}, {}
        for split in SPLITS:
            values = np.asarray(store.rows(split)["labels"][:, store.schema.labels.index(column)])
            rows[split] = np.flatnonzero(~np.isnan(values))
            targets[split] = values[rows[split]].astype(np.int64 if column.coded else np.float64)
            _check_split(store, split, column, targets[split])
        one_class = column.coded and len(np.unique(targets["val"])) == 1
        return cls(store, dataclasses.replace(Task.of(column), one_class=one_class), rows, targets, column)

    def absent(self, rows: np.ndarray) -> dict[str, list[str]]:
        """Return the classes, by their texts, that validation, test, or the draws `[R, n]` of training rows lack."""
        there = {"train": self.targets["train"][rows], "val": self.targets["val"], "test": self.targets["test"]}
        codes = {split: set(np.unique(targets).tolist()) for split, targets in there.items()}
        lacking = {
            split: [text for code, text in enumerate(self.column.categories) if code not in present]
            for split, present in codes.items()
        }
        return {split: texts for split, texts in lacking.items() if texts}

    def short(self, budget: Budget) -> dict[str, int]:
        """Return the classes that have fewer training rows than `--per-class` asks for, with their numbers of rows."""
        if budget.per_class is None:
            return {}
        counts = np.bincount(self.targets["train"], minlength=self.task.classes)
        named = zip(self.column.categories, counts.tolist(), strict=True)
        return {text: count for text, count in named if 0 < count < budget.per_class}

    def draws(self, budget: Budget, *, seed: int, count: int) -> np.ndarray:
        """`[R, n]` places among the training rows that have the label: `count` draws, or one of a budget that is fixed.

        They depend on the seed and the number of the draw alone, so all methods get the same ones.

        Raises:
          UserError: the budget does not go with the label, or asks for more rows than there are.
        """
        if budget.subset is not None:
            split, rows = self.store.subset(budget.subset)
            check(
                split == "train",
                f"--subset: {budget.subset!r} is of the split {split}, and heads are trained on train.",
            )
            places = np.flatnonzero(np.isin(self.rows["train"], rows))
            check(len(places) > 0, f"--subset: no row of {budget.subset!r} has the label {self.task.label!r}.")
            one = self.column.coded and len(np.unique(self.targets["train"][places])) == 1
            check(not one, f"--subset: all rows of {budget.subset!r} have the same class of {self.task.label!r}.")
            return places[None]
        stratified = self.task.kind == "classification"
        check(
            stratified or budget.per_class is None,
            f"--per-class: {self.task.label!r} is a number and has no classes; use --fraction.",
        )
        return np.stack(
            [
                budget.draw(self.targets["train"], (seed, draw), stratified=stratified)
                for draw in range(1 if budget.takes_all else count)
            ]
        )


def _label(store: Store, name: str | None) -> Column:
    labels = {column.name: column for column in store.schema.labels}
    if not labels:
        raise UserError(f"The store {store.directory} has no label; prepare it with --label COLUMN.")
    if name is None:
        return store.schema.label or store.schema.labels[0]
    check(name in labels, f"--label: the store {store.directory} has no label {name!r}; it has {', '.join(labels)}.")
    return labels[name]


def _check_split(store: Store, split: str, column: Column, targets: np.ndarray) -> None:
    where = f"The split {split!r} of {store.directory}"
    remedy = "predict another --label, or prepare the store again with other splits"
    check(len(targets) > 0, f"{where} has no row with the label {column.name!r}; {remedy}.")
    if split == "train":
        rows = f"rows with two {'classes' if column.coded else 'values'} of {column.name!r}"
        check(len(np.unique(targets)) > 1, f"{where} has no {rows}, so there is nothing to learn; {remedy}.")
