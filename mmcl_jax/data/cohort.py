"""The cohort: the rows of a split that take part in an experiment."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check

COHORTS = ("outer", "inner")


def cohort_rows(
    entries: Mapping[str, str],
    store: Store,
    split: str,
    *,
    cohort: str,
    fold: int | None = None,
    streamed: bool = False,
) -> np.ndarray | None:
    """Return the sorted indices of the rows of a split that take part; None if all do.

    Args:
      entries: name of the entry of every input, by input.
      store: the store with the entries.
      split: a split of the store.
      cohort: "outer" keeps rows that have at least one of the inputs, "inner" rows that have all.
      fold: fold of the store; None for its own splits.
      streamed: whether images and volumes are read from the shards.

    Raises:
      UserError: no row takes part.
    """
    rows = store.read(split, list(dict.fromkeys(entries.values())), fold=fold, streamed=streamed)
    present = [entry.present for entry in rows.values() if entry.present is not None]
    if not present or (cohort == "outer" and len(present) < len(rows)):
        return None
    keep = np.flatnonzero(np.all(present, axis=0) if cohort == "inner" else np.any(present, axis=0))
    quantity, remedy = "all", "use --config.cohort=outer, or remove an input from config.inputs"
    if cohort == "outer":
        quantity, remedy = "any", "prepare the store again with rows that have an input"
    check(
        len(keep) > 0,
        f"config.cohort: no row of the split {split!r} of {store.directory} has {quantity} of the inputs "
        f"{', '.join(entries)}; {remedy}.",
    )
    return None if len(keep) == len(present[0]) else keep


class Taken:
    """The taken rows of an entry that are present; a view on the result of `Store.read` that is indexed like it.

    Attributes:
      rows: `[n]`, indices of these rows in the entry.
    """

    def __init__(self, entry: Any, take: np.ndarray | None) -> None:
        """Store the entry, and select its rows `take` (None: all) that are present."""
        take = np.arange(len(entry)) if take is None else take
        self._entry = entry
        self.rows = take if entry.present is None else take[entry.present[take]]
        self.shape, self.dtype = (len(self.rows), *entry.shape[1:]), entry.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Any) -> np.ndarray:
        return self._entry[self.rows[indices]]
