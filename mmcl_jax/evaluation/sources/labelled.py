"""The rows of a store that have a label, and the draws of them that methods may learn from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmcl_jax.data.schema import SPLITS, Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.tasks import Task, task_of

_REMEDY = "predict another --label, or prepare the store again with other splits"


@dataclasses.dataclass(frozen=True)
class LabelledStore:
    """A store with a label to predict, or with several that are predicted together.

    Attributes:
      store: the store.
      task: the prediction of the label.
      rows: per split, the rows `[N]` that have the label (of several, at least one).
      targets: per split, their labels: int64 class codes `[N]`, float64 numbers `[N]`, or, of several labels, float64
        `[N, K]` with NaN where a row lacks one.
      columns: the label or labels; their categories are the texts of the class codes.
    """

    store: Store
    task: Task
    rows: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, store: Store, label: str | None, task: str | None = None) -> "LabelledStore":
        """The store with this label, by default its first that is a class, or its first.

        Args:
          store: with label columns.
          label: the name of one, or the names of several that are one task, joined by "+".
          task: what it is, where it can be more than one task; see `task_of`.

        Raises:
          UserError: there is no such label, it is no such task, a split has no row with it, or the training rows no two
            values of it.
        """
        columns = _columns(store, label)
        places = [store.schema.labels.index(column) for column in columns]
        single = len(columns) == 1
        rows, targets = {}, {}
        for split in SPLITS:
            values = np.asarray(store.rows(split)["labels"][:, places], np.float64)
            rows[split] = np.flatnonzero(~np.isnan(values).all(axis=1))
            for column, known in zip(columns, values.T, strict=True):
                _check_split(store, split, column, known[~np.isnan(known)])
            targets[split] = values[rows[split], 0] if single else values[rows[split]]
            if single and columns[0].coded:
                targets[split] = targets[split].astype(np.int64)
        return cls(store, task_of(columns, task, val=targets["val"]), rows, targets, columns)

    def absent(self, rows: np.ndarray) -> dict[str, list[str]]:
        """Return the classes, by their texts, that validation, test, or the draws `[R, n]` of training rows lack.

        Of several labels a class is `LABEL=TEXT`.
        """
        there = {"train": self.targets["train"][rows], "val": self.targets["val"], "test": self.targets["test"]}
        lacking: dict[str, list[str]] = {}
        for split, targets in there.items():
            by_label = targets.reshape(-1, len(self.columns))
            for column, values in zip(self.columns, by_label.T, strict=True):
                named = f"{column.name}=" if len(self.columns) > 1 else ""
                present = set(np.unique(values[~np.isnan(values)]).tolist())
                texts = [f"{named}{text}" for code, text in enumerate(column.categories) if code not in present]
                if texts:
                    lacking.setdefault(split, []).extend(texts)
        return lacking

    def short(self, budget: Budget) -> dict[str, int]:
        """Return the classes that have fewer training rows than `--per-class` asks for, with their numbers of rows."""
        if budget.per_class is None:
            return {}
        (column,) = self.columns
        counts = np.bincount(self.targets["train"], minlength=len(column.categories))
        named = zip(column.categories, counts.tolist(), strict=True)
        return {text: count for text, count in named if 0 < count < budget.per_class}

    def draws(self, budget: Budget, *, seed: int, count: int) -> np.ndarray:
        """`[R, n]` places among the training rows that have the label: `count` draws, or one of a budget that is fixed.

        They depend on the seed and the number of the draw alone, so all methods get the same ones.

        Raises:
          UserError: the budget does not go with the label, or asks for more rows than there are.
        """
        label = self.task.label
        if budget.subset is not None:
            split, rows = self.store.subset(budget.subset)
            check(
                split == "train",
                f"--subset: {budget.subset!r} is of the split {split}, and heads are trained on train.",
            )
            places = np.flatnonzero(np.isin(self.rows["train"], rows))
            check(len(places) > 0, f"--subset: no row of {budget.subset!r} has the label {label!r}.")
            one = self.task.per_class and len(np.unique(self.targets["train"][places])) == 1
            check(not one, f"--subset: all rows of {budget.subset!r} have the same class of {label!r}.")
            self._check_drawn(f"--subset {budget.subset}", places)
            return places[None]
        what = "is a number and has" if len(self.columns) == 1 else "are several labels and have"
        check(
            self.task.per_class or budget.per_class is None,
            f"--per-class: {label!r} {what} no classes; use --fraction.",
        )
        drawn = np.stack(
            [
                budget.draw(self.targets["train"], (seed, draw), stratified=self.task.per_class)
                for draw in range(1 if budget.takes_all else count)
            ]
        )
        for places in drawn:
            self._check_drawn(f"--fraction {budget.fraction:g}", places)
        return drawn

    def _check_drawn(self, option: str, places: np.ndarray) -> None:
        """Raises `UserError` if drawn training rows lack one of several labels altogether."""
        known = ~np.isnan(self.targets["train"][places].reshape(len(places), -1))
        for column, some in zip(self.columns, known.any(axis=0), strict=True):
            check(bool(some), f"{option}: none of the {len(places)} rows has the label {column.name!r}; take more.")


def _columns(store: Store, name: str | None) -> tuple[Column, ...]:
    """Return the label columns of a name, or of several names joined by "+"."""
    labels = {column.name: column for column in store.schema.labels}
    if not labels:
        raise UserError(f"The store {store.directory} has no label; prepare it with --label COLUMN.")
    if name is None:
        return (store.schema.label or store.schema.labels[0],)
    names = [name] if name in labels else name.split("+")  # a label's own name may have a plus in it
    for one in names:
        check(one in labels, f"--label: the store {store.directory} has no label {one!r}; it has {', '.join(labels)}.")
        check(names.count(one) == 1, f"--label {name}: {one!r} is there twice.")
    return tuple(labels[one] for one in names)


def _check_split(store: Store, split: str, column: Column, known: np.ndarray) -> None:
    where = f"The split {split!r} of {store.directory}"
    check(len(known) > 0, f"{where} has no row with the label {column.name!r}; {_REMEDY}.")
    if split == "train":
        rows = f"rows with two {'classes' if column.coded else 'values'} of {column.name!r}"
        check(len(np.unique(known)) > 1, f"{where} has no {rows}, so there is nothing to learn; {_REMEDY}.")
