"""Confounders: covariates of people, such as sex or genetic components, that embeddings may have learned."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.kinds.vector import is_missing
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.text import first_few, nearest

ENTRY = "covariates"  # whose features are the confounders where none is named
BINS = 4  # strata of a number
LEAST = 10  # people of a class


@dataclasses.dataclass(frozen=True)
class Confounder:
    """A covariate of the rows of a split.

    Attributes:
      name: the column of a table, or the feature of a vector.
      values: float64 `[N]`, NaN where it is missing; codes of classes.
      coded: whether it is a class: a column with categories, or a feature with two values.
    """

    name: str
    values: np.ndarray
    coded: bool

    def strata(self) -> np.ndarray:
        """Return the stratum `[N]` of every row, -1 for a missing value: its class, or the quarter of a number."""
        known = ~np.isnan(self.values)
        strata = np.full(len(self.values), -1)
        if self.coded:
            strata[known] = np.unique(self.values[known], return_inverse=True)[1]
        elif known.any():
            edges = np.quantile(self.values[known], np.arange(1, BINS) / BINS)
            strata[known] = np.searchsorted(edges, self.values[known], side="right")
        return strata


def confounders_of(
    store: Store, names: Sequence[str], *, split: str = "test", fold: int | None = None
) -> tuple[list[Confounder], list[str]]:
    """Return the confounders of a split, and remarks on those that are left out.

    Args:
      store: with the covariates, inputs or targets.
      names: of columns of tables, of features of vectors, or of whole entries; () for the entry "covariates", of which
        what is constant or has fewer than ten people, overall or in its second class, is left out with a remark.
      split: whose rows are read.
      fold: of the store; None for its own splits.

    Raises:
      UserError: there is no such entry, column or feature, or no row of the split tells it apart.
    """
    every = _entries(store)
    check(
        bool(names) or ENTRY in every,
        f"--protocol confounding: the store {store.directory} has no entry {ENTRY!r}; name covariates with "
        "--confounders, such as a table, a column or a feature of a vector.",
    )
    of_column = {column: entry for entry in reversed(every) for column in every[entry]}
    chosen: dict[str, str] = {}
    for name in names or (ENTRY,):
        if name in every:
            chosen |= dict.fromkeys(every[name], name)
            continue
        options = [*every, *of_column]
        check(
            name in of_column,
            f"--confounders: the store {store.directory} has no entry, column or feature {name!r}"
            f"{nearest(name, options)}; it has {first_few(options)}.",
        )
        chosen[name] = of_column[name]
    found, remarks = [], []
    for name, entry in chosen.items():
        one = _read(store, entry, every[entry].index(name), name, split, fold)
        fault = _fault(one, store.group(split, fold))
        if fault and names:
            raise UserError(f"--confounders {name}: {fault} in the split {split!r} of {store.directory}; leave it out.")
        if fault:
            remarks.append(f"--protocol confounding: {name} is left out: {fault} in the split {split!r}.")
        else:
            found.append(one)
    check(bool(found), f"--protocol confounding: no covariate of {store.directory} tells the rows of {split!r} apart.")
    return found, remarks


def _entries(store: Store) -> dict[str, tuple[str, ...]]:
    """Return the names of the columns of every table, and of the features of every vector that has names."""
    named = {}
    for name, entry in store.schema.entries.items():
        columns = tuple(column.name for column in entry.columns)
        if entry.kind == "vector":
            columns = store.names(name)
        if columns:
            named[name] = columns
    return named


def _read(store: Store, entry: str, index: int, name: str, split: str, fold: int | None) -> Confounder:
    part = store.read(split, [entry], fold=fold)[entry]
    stored = np.asarray(part)[:, index]
    missing = is_missing(stored) if stored.dtype.kind == "i" else np.isnan(stored)
    if part.present is not None:
        missing = missing | ~part.present
    values = np.where(missing, np.nan, stored.astype(np.float64))
    columns = store.schema.entries[entry].columns
    coded = columns[index].coded if columns else len(np.unique(values[~np.isnan(values)])) == 2
    if columns and coded:
        values = np.where(values < 0, np.nan, values)  # a category that training lacks
    return Confounder(name, values, coded)


def _fault(one: Confounder, group: np.ndarray | None) -> str:
    """Return why a covariate cannot be predicted; "" if it can."""
    known = ~np.isnan(one.values)
    values, people = one.values[known], (np.arange(len(known)) if group is None else group)[known]
    classes = np.unique(values)
    if len(classes) < 2:
        return "it is constant" if len(classes) else "no row has it"
    counts = sorted(len(np.unique(people[values == code])) for code in classes) if one.coded else []
    if counts and counts[-2] < LEAST:
        return f"its second class has fewer than {LEAST} people"
    if len(np.unique(people)) < LEAST:
        return f"fewer than {LEAST} people have it"
    return ""
