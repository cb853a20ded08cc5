"""The rows of a store's splits, subsets and folds, and the id and group of every row: the file `rows.npz`.

id, group      [N] int64; no `group` in a store without groups
split/NAME     [n] int64, sorted rows; every row of the store is in one split
subset/NAME    [n] int64, sorted rows of one split
fold/K         [n] int64, sorted rows, K from 0; every row is in one fold, or every row that the split test lacks
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import check, check_name

FILE = "rows.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lists:
    """The rows of splits, subsets and folds, and `id` and `group` `[N]` of all rows.

    Folds that have all rows take turns as test and val. Folds without the rows of the split test take turns as val, and
    test is the same for all of them.
    """

    id: np.ndarray
    group: np.ndarray | None
    splits: Mapping[str, np.ndarray]
    subsets: Mapping[str, np.ndarray]
    folds: Sequence[np.ndarray]

    def rows_of(self, split: str, fold: int | None, directory: Path) -> np.ndarray:
        """Return the sorted rows of a split; with a fold, see `Store.rows_of`.

        Raises:
          UserError: the store in `directory` has no such split or fold.
        """
        check_name(split, self.splits.keys(), f"The store {directory} has no split", "it has")
        if fold is None:
            return self.splits[split]
        count = len(self.folds)
        check(count > 0, f"config.fold: the store {directory} has no folds; prepare it with --folds 5.")
        check(0 <= fold < count, f"config.fold: {fold} is no fold of {directory}, which has {count}, numbered from 0.")
        if self.held_out:
            test, val = self.splits["test"], self.folds[fold]
        else:
            test, val = self.folds[fold], self.folds[(fold + 1) % count]
        if split == "train":
            return np.setdiff1d(np.arange(len(self.id)), np.concatenate([test, val]))
        return test if split == "test" else val

    @property
    def held_out(self) -> bool:
        """Whether the rows of the split test are in no fold, and so are the test rows of every fold."""
        return bool(self.folds) and sum(map(len, self.folds)) < len(self.id)

    def write(self, directory: Path) -> None:
        """Write `rows.npz`."""
        arrays = {f"split/{name}": rows for name, rows in self.splits.items()}
        arrays |= {f"subset/{name}": rows for name, rows in self.subsets.items()}
        arrays |= {f"fold/{number}": rows for number, rows in enumerate(self.folds)}
        arrays |= {"id": self.id} if self.group is None else {"id": self.id, "group": self.group}
        stored: dict[str, Any] = {name: np.asarray(array, np.int64) for name, array in arrays.items()}
        np.savez(directory / FILE, **stored)

    @classmethod
    def read(cls, path: Path) -> "Lists":
        """Read `rows.npz`. Raises `ValueError` unless its arrays are rows as `check_lists` wants them."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        parts: dict[str, dict[str, np.ndarray]] = {"split": {}, "subset": {}, "fold": {}}
        for name, rows in arrays.items():
            if rows.dtype != np.int64 or rows.ndim != 1:
                raise ValueError(f"{name} is {rows.dtype} with {rows.ndim} axes")
            section, _, part = name.partition("/")
            if part:
                parts[section][part] = rows
        folds = [parts["fold"][str(number)] for number in range(len(parts["fold"]))]
        lists = cls(
            id=arrays["id"], group=arrays.get("group"), splits=parts["split"], subsets=parts["subset"], folds=folds
        )
        check_lists(lists, len(lists.id))
        return lists


def check_lists(lists: Lists, rows: int) -> None:
    """Raise `ValueError` unless splits and folds are sorted and partition the rows, and subsets lie within a split."""
    if lists.group is not None and len(lists.group) != rows:
        raise ValueError(f"{len(lists.group)} rows have a group, not {rows}")
    for members in (*lists.splits.values(), *lists.subsets.values(), *lists.folds):
        if len(members) and not (members[0] >= 0 and members[-1] < rows and (np.diff(members) > 0).all()):
            raise ValueError(f"rows of splits, subsets and folds must be sorted, and numbers from 0 to {rows - 1}")
    held_out = [lists.splits["test"]] if lists.held_out else []
    for partition in [list(lists.splits.values())] + ([[*lists.folds, *held_out]] if lists.folds else []):
        times = np.zeros(rows, np.int8)
        for members in partition:
            times[members] += 1
        if not (times == 1).all():
            raise ValueError("every row must be in exactly one split, and in one fold")
    for name, members in lists.subsets.items():
        if not np.isin(members, lists.splits[name.split("_")[0]], assume_unique=True).all():
            raise ValueError(f"the subset {name} has rows of other splits")
