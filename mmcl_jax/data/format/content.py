"""What a store is made of, as whoever prepares one hands it over; `writing.write` makes the files of it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.data.schema import Entry
from mmcl_jax.data.table.declaration import Declaration


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One entry with its values.

    Attributes:
      entry: what the values are. `optional` and `pictures` are set by `writing.write` to what `at` says.
      values: `[R, *entry.shape]`, the rows that exist. They may be a mapped file; one that is `flat/NAME.npy` in the
        folder of the store already (see `flat.allocate`) is left there and not copied. Rows that `at` never names are
        in no shard.
      at: `[N]` or, with several pictures of a row, `[N, V]` integers: the index in `values` of each row of the store,
        -1 for absent and behind the last picture. None if the row n of the store is the row n of `values`.
      names: of a vector, one per feature; of a text, the vocabulary in the order of its tokens; else ().
    """

    entry: Entry
    values: np.ndarray
    at: np.ndarray | None = None
    names: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """All that a store holds; `N` is the number of its rows.

    Attributes:
      parts: the entries by name.
      id: `[N]` integers, which identify a row within the source.
      keys: `N` texts, which identify it for a user.
      splits: `train`, `val` and `test`: sorted rows. Every row is in one of them.
      subsets: sorted rows of one split, whose name the subset's begins with (`train_10`).
      folds: sorted rows of each; every row is in one of them. () for none.
      group: `[N]` integers, such as a number of the person; None where rows belong together in no way.
      declaration: how cells of the source table are read.
      declarations: the same for entries and labels that come from further tables, by name.
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
