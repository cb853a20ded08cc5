"""The subgroups of rows, such as sexes, ranges of age, views and devices, that scores are told apart by."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.page.wording import number
from mmcl_jax.text import first_few, nearest

BINS = 4  # of a number: quarters of the rows
LEAST = 10  # rows of a subgroup that has scores of its own


@dataclasses.dataclass(frozen=True)
class Subgroups:
    """The subgroups of a column.

    Attributes:
      column: its name.
      names: of the subgroups.
      codes: `[n]`, of every row; -1 for a row without a value.
    """

    column: str
    names: tuple[str, ...]
    codes: np.ndarray

    def masks(self) -> list[tuple[str, np.ndarray]]:
        """Return the name and the rows `[n]` bool of every subgroup with at least ten rows."""
        each = [(name, self.codes == code) for code, name in enumerate(self.names)]
        return [(name, mask) for name, mask in each if mask.sum() >= LEAST]


def subgroups_of(store: Store, names: Sequence[str], split: str, rows: np.ndarray, fold: int | None) -> list[Subgroups]:
    """Return the subgroups of columns: the classes of a category, the quarters of a number.

    Args:
      store: with the columns, of any table.
      names: of columns.
      split: of the rows.
      rows: indices `[n]` in the split.
      fold: of the store; None for its own splits.

    Raises:
      UserError: the store has no such column.
    """
    at = {
        column.name: (entry, index)
        for entry, spec in reversed(list(store.schema.entries.items()))
        if spec.kind == "table"
        for index, column in enumerate(spec.columns)
    }
    found = []
    for name in dict.fromkeys(names):
        check(
            name in at,
            f"--subgroup: the store {store.directory} has no column {name!r}{nearest(name, at)}; it has "
            f"{first_few(at) or 'none'}.",
        )
        entry, index = at[name]
        part = store.read(split, [entry], fold=fold)[entry]
        values = np.asarray(part[np.arange(len(part))], np.float64)[rows, index]
        if part.present is not None:
            values = np.where(part.present[rows], values, np.nan)
        column = store.schema.entries[entry].columns[index]
        found.append(_of_classes(name, column.categories, values) if column.coded else _of_number(name, values))
    return found


def _of_classes(name: str, categories: Sequence[str], values: np.ndarray) -> Subgroups:
    codes = np.where(np.isnan(values), -1, np.nan_to_num(values)).astype(int)
    return Subgroups(name, tuple(categories), codes)


def _of_number(name: str, values: np.ndarray) -> Subgroups:
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return Subgroups(name, (), np.full(len(values), -1))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    names = [f"{number(low)} to {number(high)}" for low, high in itertools.pairwise(edges)]
    codes = np.searchsorted(edges[1:-1], np.nan_to_num(values), side="right")
    return Subgroups(name, tuple(names) or (number(edges[0]),), np.where(np.isnan(values), -1, codes))
