"""The rows of a store that have a label, and the draws of training labels from them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS, Column
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.evaluation.sources.boxes import boxes_of, read_boxes
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.masks import masks_of, read_masks, read_several_masks
from mmcl_jax.tasks import Detection, Dice, Masks, Task, task_of

_REMEDY = "predict another --label, or prepare the store again with other splits"


@dataclasses.dataclass(frozen=True)
class LabelledStore:
    """A store with a label to predict, or with several labels that are predicted together.

    Attributes:
      store: the store.
      task: the prediction of the label.
      rows: per split, the rows `[N]` that have the label (of several labels, at least one).
      targets: per split, the labels of these rows: int64 class codes `[N]`; float64 numbers `[N]`; for several labels
        float64 `[N, K]`, NaN where a row lacks one; masks `[N, H, W]` int64, -1 for pixels without a label; several
        masks `[N, H, W, K]` int8; or boxes `[N, M, 5]` float32, padded with NaN.
      columns: the label or labels; their categories are the texts of the class codes. () for a mask or boxes.
      fold: of the store, whose splits are used; None for the store's own splits.
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
        """Return the store with this label; by default the first label that is a class, or else the first label.

        Args:
          store: with label columns or masks.
          label: the name of a label column, of a target of several columns, of a mask or of boxes; or the names of
            several label columns, or of several masks, that are one task, joined by "+".
          task: name of the task, for labels that can be several; see `task_of`.
          fold: of the store; None for its own splits.

        Raises:
          UserError: there is no such label, it is no such task, a split has no row with it, or all training rows have
            the same value of it.
        """
        masks = masks_of(store.schema)
        if label is not None and label in masks and task not in ("masks", "dice"):
            sentence = f"--task {task}: the label {label!r} is a mask; choose --task segmentation, masks or dice."
            check(task in (None, "segmentation"), sentence)
            return cls(store, *read_masks(store, label, fold), (), fold)
        parts = [] if label is None else [label] if label in masks else label.split("+")
        if parts and set(parts) <= set(masks):
            sentence = f"--task {task}: the labels {label!r} are masks: choose --task masks or dice."
            check(task in (None, "masks", "dice"), sentence)
            twice = next((name for name in parts if parts.count(name) > 1), None)
            check(twice is None, f"--label {label}: {twice!r} is named twice; name it once.")
            return cls(store, *read_several_masks(store, parts, fold, Dice if task == "dice" else Masks), (), fold)
        if label in boxes_of(store.schema):
            return cls(store, *read_boxes(store, str(label), task, fold), (), fold)
        entry, columns = _columns(store, label)
        indices = [store.schema.entries[entry].columns.index(column) for column in columns]
        single = len(columns) == 1
        rows, targets = {}, {}
        for split in SPLITS:
            values = np.asarray(store.read(split, [entry], fold=fold)[entry])[:, indices].astype(np.float64)
            rows[split] = np.flatnonzero(~np.isnan(values).all(axis=1))
            targets[split] = values[rows[split], 0] if single else values[rows[split]]
            if single and columns[0].coded:
                targets[split] = targets[split].astype(np.int64)
        _check(store, columns, targets)
        name = label if label is not None and entry == label else None
        return cls(store, task_of(columns, task, val=targets["val"], label=name), rows, targets, columns, fold)

    def having(self, entries: Sequence[str]) -> "LabelledStore":
        """Return the part of the rows that have all these entries of the store.

        Raises:
          UserError: a split has no such row, or all such training rows have the same label.
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
        """The texts of the classes of each label, or of the mask; () for a number."""
        if self.columns:
            return {column.name: column.categories for column in self.columns}
        entries = self.store.schema.entries
        names = self.task.names if isinstance(self.task, Masks) else (self.task.label,)
        return {name: entries[name].columns[0].categories for name in names}

    def people(self, split: str) -> np.ndarray | None:
        """Return the person `[N]` (the group) of each labelled row of a split; None for a store without groups."""
        group = self.store.group(split, self.fold)
        return None if group is None else group[self.rows[split]]

    def absent(self, rows: np.ndarray) -> dict[str, list[str]]:
        """Return by split the texts of the classes that validation, test or the draws `[R, n]` of training rows lack.

        With several labels, the text of a class is `LABEL=TEXT`.
        """
        if not self.columns:
            return {}
        by_split = {"train": self.targets["train"][rows], "val": self.targets["val"], "test": self.targets["test"]}
        lacking: dict[str, list[str]] = {}
        for split, targets in by_split.items():
            by_label = targets.reshape(-1, len(self.columns))
            for column, values in zip(self.columns, by_label.T, strict=True):
                prefix = f"{column.name}=" if len(self.columns) > 1 else ""
                present = set(np.unique(values[~np.isnan(values)]).tolist())
                texts = [f"{prefix}{text}" for code, text in enumerate(column.categories) if code not in present]
                if texts:
                    lacking.setdefault(split, []).extend(texts)
        return lacking

    def short(self, budget: Budget) -> dict[str, int]:
        """Return the number of training rows of every class that has fewer than the budget's `per_class`."""
        if budget.per_class is None:
            return {}
        (column,) = self.columns
        counts = np.bincount(self.targets["train"], minlength=len(column.categories))
        named = zip(column.categories, counts.tolist(), strict=True)
        return {text: count for text, count in named if 0 < count < budget.per_class}

    def draws(self, budget: Budget, *, seed: int, count: int) -> np.ndarray:
        """Return indices `[R, n]` into the labelled training rows: `count` draws, or one if all draws are the same.

        A draw depends only on the seed and its number, so all methods get the same draws.

        Raises:
          UserError: the budget does not fit the label, or has no rows with it.
        """
        label = self.task.label
        if budget.subset is not None:
            split, rows = self.store.subset(budget.subset, fold=self.fold)
            check(
                split == "train",
                f"--subset: {budget.subset!r} is a subset of the split {split}; name a subset of train.",
            )
            indices = np.flatnonzero(np.isin(self.rows["train"], rows))
            check(len(indices) > 0, f"--subset: no row of {budget.subset!r} has the label {label!r}.")
            one_class = self.task.per_class and len(np.unique(self.targets["train"][indices])) == 1
            check(not one_class, f"--subset: all rows of {budget.subset!r} have the same class of {label!r}.")
            self._check_drawn(f"--subset {budget.subset}", indices)
            return indices[None]
        kind = {0: "is no column and has", 1: "is a number and has"}.get(
            len(self.columns), "are several labels and have"
        )
        check(
            self.task.per_class or budget.per_class is None,
            f"--per-class: {label!r} {kind} no classes; use --fraction.",
        )
        drawn = np.stack(
            [
                budget.draw(self.targets["train"], (seed, draw), stratified=self.task.per_class)
                for draw in range(1 if budget.drawn_once else count)
            ]
        )
        for indices in drawn:
            self._check_drawn(f"--fraction {budget.fraction:g}", indices)
        return drawn

    def _check_drawn(self, option: str, indices: np.ndarray) -> None:
        """Raise `UserError` if no drawn training row has one of several labels, or a box."""
        if isinstance(self.task, Detection):
            some = bool((~np.isnan(self.targets["train"][indices])).any())
            check(some, f"{option}: none of the {len(indices)} rows has a box of {self.task.label!r}; use more labels.")
        if len(self.columns) > 1:
            labelled = ~np.isnan(self.targets["train"][indices])
            for column, present in zip(self.columns, labelled.any(axis=0), strict=True):
                sentence = (
                    f"{option}: none of the {len(indices)} rows has the label {column.name!r}; use a larger budget."
                )
                check(bool(present), sentence)


def _columns(store: Store, name: str | None) -> tuple[str, tuple[Column, ...]]:
    """Return the target table that has a label, and the columns of the label."""
    schema = store.schema
    tables = {
        of: entry.columns for of, entry in schema.entries.items() if (entry.role, entry.kind) == ("target", "table")
    }
    masks = [*masks_of(schema), *boxes_of(schema)]
    if not tables or (name is None and not schema.labels):
        or_mask = f", or name one of its masks or boxes: --label {', '.join(masks)}" if masks else ""
        raise UserError(f"The store {store.directory} has no label; prepare it with --label COLUMN{or_mask}.")
    main = next(iter(tables))
    labels = {column.name: column for column in schema.labels}
    if name is None:
        return main, (schema.label or schema.labels[0],)
    if name in tables and name not in labels:
        return name, tables[name]
    options = [*labels, *(of for of in tables if of != main), *masks]
    names = [name] if name in labels else name.split("+")  # a label's own name may have a plus in it
    for part in names:
        alone = part in masks or (part in tables and part not in labels)
        check(not alone, f"--label {name}: {part!r} is a task of its own; separate it from other labels by a comma.")
        check_name(part, options, f"--label: the store {store.directory} has no label", "it has")
        check(names.count(part) == 1, f"--label {name}: {part!r} is named twice; name it once.")
    return main, tuple(labels[part] for part in names)


def _check(store: Store, columns: Sequence[Column], targets: Mapping[str, np.ndarray]) -> None:
    """Raise `UserError` unless every split has rows with each label, and the training rows have two values of it.

    Of several yes-or-no labels, it is enough that this holds of one: a rare finding must not forbid all others.
    """
    if len(columns) > 1 and all(column.coded for column in columns):
        _check_some(store, columns, targets)
        return
    for split in SPLITS:
        where = f"The split {split!r} of {store.directory}"
        by_label = list(targets[split].reshape(-1, len(columns)).T) if columns else []
        for column, values in zip(columns, by_label, strict=True):
            valid = values[~np.isnan(values)]
            check(len(valid) > 0, f"{where} has no row with the label {column.name!r}; {_REMEDY}.")
            if split == "train":
                rows = f"rows with two {'classes' if column.coded else 'values'} of {column.name!r}"
                check(len(np.unique(valid)) > 1, f"{where} has no {rows}, so there is nothing to learn; {_REMEDY}.")


def _check_some(store: Store, columns: Sequence[Column], targets: Mapping[str, np.ndarray]) -> None:
    """Raise `UserError` unless every split has rows with one of the labels, and train rows with both classes of one."""
    names = "+".join(column.name for column in columns)
    for split in SPLITS:
        where = f"The split {split!r} of {store.directory}"
        check(targets[split].size > 0, f"{where} has no row with one of the labels {names!r}; {_REMEDY}.")
        both = [{0.0, 1.0} <= set(values.tolist()) for values in targets[split].T]
        check(
            split != "train" or any(both),
            f"{where} has no rows with two classes of any of {names!r}, so there is nothing to learn; {_REMEDY}.",
        )
