"""The rows of a store that have the label, and the draws of them that methods may learn from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmcl_jax.data.schema import Column
from mmcl_jax.data.splits import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.budgets import Budget
from mmcl_jax.evaluation.tasks import Task


@dataclasses.dataclass(frozen=True)
class LabelledStore:
    """A store with a label to predict.

    Attributes:
      store: the store.
      task: the prediction of the label.
      rows: per split, the rows `[N]` that have the label.
      targets: per split, their labels `[N]`: int64 class codes, or float64 numbers.
    """

    store: Store
    task: Task
    rows: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, store: Store, label: str | None) -> "LabelledStore":
        """The store with this label, by default its first that is a class, or its first.

        Raises:
          UserError: there is no such label, a class has no row in a split, or a split has no two rows with the label.
        """
        column = _label(store, label)
        rows, targets = {}, {}
        for split in SPLITS:
            values = np.asarray(store.rows(split)["labels"][:, store.schema.labels.index(column)])
            rows[split] = np.flatnonzero(~np.isnan(values))
            targets[split] = values[rows[split]].astype(np.int64 if column.coded else np.float64)
            _check_split(store, split, column, targets[split])
        return cls(store, Task.of(column), rows, targets)

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
    for code, text in enumerate(column.categories):
        sentence = f"The split {split!r} of {store.directory} has no row of class {text!r} of {column.name!r}."
        check(bool((targets == code).any()), sentence)
    check(len(targets) > 1, f"The split {split!r} of {store.directory} has no two rows with the label {column.name!r}.")
