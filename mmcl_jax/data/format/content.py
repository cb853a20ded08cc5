"""The content of a store in memory; `writing.write` writes its files."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.data.schema import Entry
from mmcl_jax.data.table.declaration import Declaration


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One entry with its values.

    Attributes:
      entry: description of the values. `writing.write` sets its `optional` and `pictures` as `at` implies.
      values: `[R, *entry.shape]`, the distinct rows. A mapped file that is already `flat/NAME.npy` in the folder of the
        store (see `flat.allocate`) is not copied. Rows that `at` does not refer to are in no shard.
      at: `[N]` or, with several images per row, `[N, V]` integers: the index in `values` of each row of the store, -1
        for a row that lacks the entry and after the last image. None if row n of the store is row n of `values`.
      names: one name per feature of a vector; the vocabulary of a text in the order of its tokens; else ().
    """

    entry: Entry
    values: np.ndarray
    at: np.ndarray | None = None
    names: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """The entries, splits and declarations of a store with `N` rows.

    Attributes:
      parts: entries with their values, by name.
      id: `[N]` integers that identify the rows within the source.
      keys: `N` texts that identify the rows for a user.
      splits: sorted rows of `train`, `val` and `test`; every row is in one split.
      subsets: sorted rows of every subset. A subset lies within one split, with which its name begins (`train_10`).
      folds: sorted rows of every fold; every row is in one fold, or every row outside the split test. () for a store
        without folds.
      group: `[N]` integers, such as the number of the person; None for a store without groups.
      declaration: how cells of the source table are read.
      declarations: how cells of further tables are read, by the name of the entry or label.
    """

    parts: Mapping[str, Part]
    id: np.ndarray
    keys: Sequence[str]
    splits: Mapping[str, np.ndarray]
    subsets: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    folds: Sequence[np.ndarray] = ()
    group: np.ndarray | None = None
    declaration: Declaration = dataclasses.field(default_factory=Declaration)
    declarations: Mapping[str, Declaration] = dataclasses.field(default_factory=dict)
