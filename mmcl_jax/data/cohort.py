"""Which rows of a split take part in an experiment."""

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
    """Return the numbers of the rows of a split that take part, in order; None if all do.

    Args:
      entries: of the inputs, by input.
      store: with the entries.
      split: of it.
      cohort: "outer" keeps rows that have at least one of the inputs, "inner" those that have all.
      fold: of the store; None for its own splits.
      streamed: whether images and volumes are read from the shards.

    Raises:
      UserError: no row takes part.
    """
    rows = store.read(split, list(dict.fromkeys(entries.values())), fold=fold, streamed=streamed)
    absent = [entry.present for entry in rows.values() if entry.present is not None]
    if not absent or (cohort == "outer" and len(absent) < len(rows)):
        return None
    keep = np.flatnonzero(np.all(absent, axis=0) if cohort == "inner" else np.any(absent, axis=0))
    what, remedy = "all", "give --config.cohort=outer, or leave an input out of config.inputs"
    if cohort == "outer":
        what, remedy = "any", "prepare the store again with rows that have one"
    check(
        len(keep) > 0,
        f"config.cohort: no row of the split {split!r} of {store.directory} has {what} of the inputs "
        f"{', '.join(entries)}; {remedy}.",
    )
    return None if len(keep) == len(absent[0]) else keep


class Taken:
    """Some rows of what `Store.read` returns, which can be read like it.

    Attributes:
      there: `[n]`, the numbers of the taken rows that are present.
    """

    def __init__(self, rows: Any, take: np.ndarray | None) -> None:
        """Take the rows, and the numbers of those that take part; None for all."""
        take = np.arange(len(rows)) if take is None else take
        self._rows = rows
        self.there = take if rows.present is None else take[rows.present[take]]
        self.shape, self.dtype = (len(self.there), *rows.shape[1:]), rows.dtype

    def __len__(self) -> int:
        return len(self.there)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._rows[self.there[rows]]
