"""The rows of a store that have a label, and the draws of them that methods may learn from."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS, Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.masks import masks_of, read_masks
from mmcl_jax.tasks import Task, task_of

_REMEDY = "predict another --label, or prepare the store again with other splits"


@dataclasses.dataclass(frozen=True)
class LabelledStore:
    """A store with a label to predict, or with several that are predicted together.

    Attributes:
      store: the store.
      task: the prediction of the label.
      rows: per split, the rows `[N]` that have the label (of several, at least one).
      targets: per split, their labels: int64 class codes `[N]`, float64 numbers `[N]`, of several labels float64
        `[N, K]` with NaN where a row lacks one, or masks `[N, H, W]` int64, -1 for pixels without a label.
      columns: the label or labels; their categories are the texts of the class codes. () for a mask.
      fold: of the store, whose splits these are; None for the store's own.
    """

    store: Store
    task: Task
    rows: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    columns: tuple[Column, ...]
    fold: int | None = None

    @classmethod
    def of(
        cls, store: Store, label: str | None, task: str | None = None, *, fold: int | None = None
    ) -> "LabelledStore":
        """Return the store with this label, by default its first that is a class, or its first.

        Args:
          store: with label columns or masks.
          label: the name of a label column, of a target of several columns, or of a mask; or the names of several label
            columns that are one task, joined by "+".
          task: what it is, where it can be more than one task; see `task_of`.
          fold: of the store; None for its own splits.

        Raises:
          UserError: there is no such label, it is no such task, a split has no row with it, or the training rows no two
            values of it.
        """
        if label is not None and label in masks_of(store.schema):
            check(task in (None, "segmentation"), f"--task {task}: the label {label!r} is a mask: segmentation.")
            return cls(store, *read_masks(store, label, fold), (), fold)
        entry, columns = _columns(store, label)
        places = [store.schema.entries[entry].columns.index(column) for column in columns]
        single = len(columns) == 1
        rows, targets = {}, {}
        for split in SPLITS:
            values = np.asarray(store.read(split, [entry], fold=fold)[entry])[:, places].astype(np.float64)
            rows[split] = np.flatnonzero(~np.isnan(values).all(axis=1))
            targets[split] = values[rows[split], 0] if single else values[rows[split]]
            if single and columns[0].coded:
                targets[split] = targets[split].astype(np.int64)
        _check(store, columns, targets)
        name = label if label is not None and entry == label else None
        return cls(store, task_of(columns, task, val=targets["val"], label=name), rows, targets, columns, fold)

    def having(self, entries: Sequence[str]) -> "LabelledStore":
        """Return the same of the rows that have all these entries of the store.

        Raises:
          UserError: a split has no such row, or the training rows no two values of the label.
        """
        rows, targets = dict(self.rows), dict(self.targets)
        for split in SPLITS:
            for entry in entries:
                present = self.store.read(split, [entry], fold=self.fold)[entry].present
                if present is not None:
                    keep = present[rows[split]]
                    rows[split], targets[split] = rows[split][keep], targets[split][keep]
            check(
                len(rows[split]) > 0,
                f"No row of the split {split!r} of {self.store.directory} has the label {self.task.label!r} and "
                f"{' and '.join(map(repr, entries))}; predict from another --input.",
            )
        if all(len(rows[split]) == len(self.rows[split]) for split in SPLITS):
            return self
        _check(self.store, self.columns, targets)
        task = self.task
        if self.columns:
            task = task_of(self.columns, task.name, val=targets["val"], label=task.label)
        return dataclasses.replace(self, task=task, rows=rows, targets=targets)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The texts of the classes of each label, or of the mask; () of a number."""
        if self.columns:
            return {column.name: column.categories for column in self.columns}
        (classes,) = self.store.schema.entries[self.task.label].columns
        return {self.task.label: classes.categories}

    def absent(self, rows: np.ndarray) -> dict[str, list[str]]:
        """Return the classes, by their texts, that validation, test, or the draws `[R, n]` of training rows lack.

        Of several labels a class is `LABEL=TEXT`.
        """
        if not self.columns:
            return {}
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
        """Return indices `[R, n]` into the labelled training rows: `count` draws, or the single draw of a fixed budget.

        They depend on the seed and the number of the draw alone, so all methods get the same ones.

        Raises:
          UserError: the budget does not go with the label, or asks for more rows than there are.
        """
        label = self.task.label
        if budget.subset is not None:
            split, rows = self.store.subset(budget.subset, fold=self.fold)
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
        what = {0: "is a mask and has", 1: "is a number and has"}.get(len(self.columns), "are several labels and have")
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
        """Raise `UserError` if drawn training rows lack one of several labels altogether."""
        if len(self.columns) > 1:
            known = ~np.isnan(self.targets["train"][places])
            for column, some in zip(self.columns, known.any(axis=0), strict=True):
                check(bool(some), f"{option}: none of the {len(places)} rows has the label {column.name!r}; take more.")


def _columns(store: Store, name: str | None) -> tuple[str, tuple[Column, ...]]:
    """Return the target table that has a label, and the label's columns: all of the table, or those that are named."""
    schema = store.schema
    tables = {
        of: entry.columns for of, entry in schema.entries.items() if (entry.role, entry.kind) == ("target", "table")
    }
    masks = masks_of(schema)
    if not tables or (name is None and not schema.labels):
        named = f", or name one of its masks: --label {', '.join(masks)}" if masks else ""
        raise UserError(f"The store {store.directory} has no label; prepare it with --label COLUMN{named}.")
    main = next(iter(tables))
    labels = {column.name: column for column in schema.labels}
    if name is None:
        return main, (schema.label or schema.labels[0],)
    if name in tables and name not in labels:
        return name, tables[name]
    known = ", ".join([*labels, *(of for of in tables if of != main), *masks])
    names = [name] if name in labels else name.split("+")  # a label's own name may have a plus in it
    for one in names:
        alone = one in masks or (one in tables and one not in labels)
        check(not alone, f"--label {name}: {one!r} is a task of its own; separate it from others by a comma.")
        check(one in labels, f"--label: the store {store.directory} has no label {one!r}; it has {known}.")
        check(names.count(one) == 1, f"--label {name}: {one!r} is there twice.")
    return main, tuple(labels[one] for one in names)


def _check(store: Store, columns: Sequence[Column], targets: Mapping[str, np.ndarray]) -> None:
    """Raise `UserError` unless every split has rows with each label, and train two values of it."""
    for split in SPLITS:
        where = f"The split {split!r} of {store.directory}"
        by_label = list(targets[split].reshape(-1, len(columns)).T) if columns else []
        for column, values in zip(columns, by_label, strict=True):
            known = values[~np.isnan(values)]
            check(len(known) > 0, f"{where} has no row with the label {column.name!r}; {_REMEDY}.")
            if split == "train":
                rows = f"rows with two {'classes' if column.coded else 'values'} of {column.name!r}"
                check(len(np.unique(known)) > 1, f"{where} has no {rows}, so there is nothing to learn; {_REMEDY}.")
