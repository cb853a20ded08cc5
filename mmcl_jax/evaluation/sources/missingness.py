"""Tables with hidden cells: how well a run predicts from incomplete rows.

The protocol of TIP (Du et al., ECCV 2024): a model that was pretrained on complete rows is fine-tuned and tested on
rows of which a share is hidden, by one strategy. The strategies are:

cells            every cell by itself, at random (TIP's RVM)
columns          the same random columns of all rows (RFM)
most_important   the most important columns for the label first, by a random forest (MIFM)
least_important  the least important columns first (LIFM)
value            the largest values of every column: a cell is hidden because of what is in it
label            every cell by itself, in rows with a large label more often
"""

import dataclasses
import functools
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.prepare.forest import fitted_forest

BY_COLUMN = ("columns", "most_important", "least_important")
STRATEGIES = ("cells", *BY_COLUMN, "value", "label")
_BLOCK = 1024  # rows whose random numbers are drawn at once: one shape, so one compilation


@dataclasses.dataclass(frozen=True)
class Missingness:
    """The share of a table that is hidden, and the strategy; the default hides nothing.

    Attributes:
      rate: share of the cells or columns, at least 0 and below 1.
      by: one of `STRATEGIES`; "" if `rate` is 0, where all strategies are the same.

    Raises:
      UserError: the rate is out of range.
    """

    rate: float = 0.0
    by: str = ""

    def __post_init__(self) -> None:
        check(
            0 <= self.rate < 1,
            f"--missing: {self.rate:g} is not at least 0 and below 1; at 1 nothing of the table would be left, and "
            "--input image says what images alone are worth.",
        )

    def __str__(self) -> str:
        return f"{100 * self.rate:g} % missing by {self.by}" if self.rate else "nothing hidden"

    @property
    def of(self) -> dict[str, Any]:
        """The part of the identity of a score; {} if nothing is hidden."""
        return {"missing": self.rate, "missing_by": self.by} if self.rate else {}

    def columns(self, count: int) -> int:
        """Return how many of `count` columns are hidden, for strategies that hide columns."""
        return round(self.rate * count)


WHOLE = Missingness()


def missingness_of(rates: Sequence[float], strategies: Sequence[str]) -> list[Missingness]:
    """Return every rate by every strategy, the rate 0 once; [WHOLE] without rates."""
    every = [Missingness(rate, by if rate else "") for by in strategies for rate in rates]
    return list(dict.fromkeys(every)) or [WHOLE]


class Hiding:
    """Which cells of a labelled store are hidden; a pure function of the row's id, the strategy, the rate and the seed.

    Cells that are hidden at one rate are hidden at every larger rate. Ranks and importances are those of the training
    rows that have the label, whatever the label budget. A share of the columns is one of those that are read.

    Attributes:
      data: the labelled rows of the store, with nothing hidden.
      reads: names of the columns that are read, by table; a table that is not named is read whole.
    """

    def __init__(self, data: LabelledStore, reads: Mapping[str, Collection[str]] | None = None) -> None:
        self.data = data
        self.reads = reads or {}
        self._sorted = functools.cache(self._sorted_values)
        self.importance = functools.cache(self._importance)

    def columns_read(self, table: str) -> np.ndarray:
        """Return the indices of the columns of a table that are read, ascending `[R]`."""
        columns = self.data.store.schema.entries[table].columns
        return np.array([i for i, column in enumerate(columns) if column.name in self.reads.get(table, (column.name,))])

    def order(self, missing: Missingness, seed: int, table: str) -> list[int]:
        """Return the columns of a table that are read in the order in which a strategy of `BY_COLUMN` hides them."""
        read = self.columns_read(table)
        if missing.by == "columns":
            stream = zlib.crc32(f"columns {table}".encode())
            count = len(self.data.store.schema.entries[table].columns)
            order = np.random.default_rng([seed, stream]).permutation(count)
            return order[np.isin(order, read)].tolist()
        order = read[np.argsort(-self.importance(table), kind="stable")]
        return (order if missing.by == "most_important" else order[::-1]).tolist()

    def hidden(
        self, missing: Missingness, seed: int, table: str, split: str, rows: np.ndarray, values: np.ndarray
    ) -> np.ndarray:
        """Return the mask of the hidden cells of some rows of a table, bool `[n, F]`.

        Args:
          missing: rate and strategy.
          seed: of the run.
          table: name of the entry.
          split: of the fold of `data`.
          rows: indices of the rows in the split `[n]`.
          values: the stored rows `[n, F]`, NaN for missing.
        """
        columns = values.shape[1]
        if missing.by in BY_COLUMN:
            order = self.order(missing, seed, table)
            hidden = order[: missing.columns(len(order))]
            return np.broadcast_to(np.isin(np.arange(columns), hidden), values.shape)
        ids = self.data.store.lists.id[self.data.store.rows_of(split, self.data.fold)[rows]]
        draws = _uniform(seed, f"{missing.by} {table}", ids, columns)
        if missing.by == "value":
            ranks = [_rank(self._sorted(table)[i], values[:, i], draws[:, i]) for i in range(columns)]
            return np.stack(ranks, axis=1) >= 1 - missing.rate
        return draws < (self._rates(missing.rate, split)[rows][:, None] if missing.by == "label" else missing.rate)

    def _rates(self, rate: float, split: str) -> np.ndarray:
        """Return the rate of every row of a split `[N]`, which grows with the rank of the row's label.

        With the rank q, from 0 to 1, the rate r becomes 2 r q or, above one half, 1 - 2 (1 - r) (1 - q): over the
        labelled training rows the mean is r, and it never falls when r grows. Rows without a label have the rate r.
        """
        data = self.data
        rank = np.full(len(data.store.rows_of(split, data.fold)), 0.5)
        rank[data.rows[split]] = _rank(np.sort(data.targets["train"]), data.targets[split], 0.5)
        return 2 * rate * rank if rate <= 0.5 else 1 - 2 * (1 - rate) * (1 - rank)

    def _training(self, table: str) -> np.ndarray:
        """Return the stored training rows that have the label `[N, F]`."""
        return np.asarray(self.data.store.read("train", [table], fold=self.data.fold)[table][self.data.rows["train"]])

    def _sorted_values(self, table: str) -> list[np.ndarray]:
        return [np.sort(values[~np.isnan(values)]) for values in self._training(table).T]

    def _importance(self, table: str) -> np.ndarray:
        """Return the importance of the columns of a table that are read for the label `[R]`; of several, the mean.

        It is that of scikit-learn's default random forest on the stored codes and numbers, as TIP has it.
        """
        rows, targets = self._training(table)[:, self.columns_read(table)], self.data.targets["train"]
        shares = []
        for label, target in zip(self.data.columns, targets.reshape(len(rows), -1).T, strict=True):
            labelled = ~np.isnan(target)
            shares.append(fitted_forest(rows[labelled], target[labelled], label).feature_importances_)
        return np.mean(shares, axis=0)


def _uniform(seed: int, stream: str, ids: np.ndarray, columns: int) -> np.ndarray:
    """Return a random number in [0, 1) for every cell `[n, columns]`, which depends on nothing but its row's id."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(f"missing {stream}".encode()))
    out = np.empty((len(ids), columns), np.float32)
    for start in range(0, len(ids), _BLOCK):
        block = np.zeros(_BLOCK, np.uint32)
        part = ids[start : start + _BLOCK]
        block[: len(part)] = part
        out[start : start + _BLOCK] = np.asarray(_block(key, block, columns))[: len(part)]
    return out


@functools.partial(jax.jit, static_argnums=2)
def _block(key: jax.Array, ids: jax.Array, columns: int) -> jax.Array:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids)
    return jax.vmap(lambda one: jax.random.uniform(one, (columns,), jnp.float32))(keys)


def _rank(ordered: np.ndarray, values: np.ndarray, within: np.ndarray | float) -> np.ndarray:
    """Return the rank of values `[n]` among ascending ones, from 0 to 1; a tie's rank is the share `within` of it."""
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + within * (upto - below)) / max(1, len(ordered))


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class HidingStore(Store):
    """A store that reads its input tables with hidden cells, as if these were missing in the data.

    Attributes:
      hiding: which cells are hidden.
      missing: rate and strategy.
      seed: of the run.
    """

    hiding: Hiding
    missing: Missingness
    seed: int

    def read(
        self, split: str, names: Sequence[str], *, streamed: bool = False, fold: int | None = None
    ) -> dict[str, Any]:
        """Return the rows of entries by name, as `Store.read` does; hidden cells are NaN."""
        assert fold == self.hiding.data.fold
        entries = super().read(split, names, streamed=streamed, fold=fold)
        return {
            name: _HiddenRows(rows, self, split, name) if name in tables_of(self) else rows
            for name, rows in entries.items()
        }

    @property
    def order(self) -> dict[str, list[str]]:
        """By table, the columns in the order in which they are hidden; {} for a strategy that hides single cells."""
        if self.missing.by not in BY_COLUMN:
            return {}
        return {
            name: [self.schema.entries[name].columns[i].name for i in self.hiding.order(self.missing, self.seed, name)]
            for name in tables_of(self)
        }


class _HiddenRows:
    """Rows of a table, indexed by an array or a slice of rows, whose hidden cells are NaN."""

    def __init__(self, rows: Any, store: HidingStore, split: str, name: str) -> None:
        self._rows, self._store, self._split, self._name = rows, store, split, name
        self.shape, self.ndim, self.dtype, self.present = rows.shape, rows.ndim, rows.dtype, rows.present

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        store, values = self._store, np.asarray(self._rows[rows])
        hidden = store.hiding.hidden(store.missing, store.seed, self._name, self._split, rows, values)
        return np.where(hidden, np.nan, values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def hiding_cells(data: LabelledStore, hiding: Hiding, missing: Missingness, seed: int) -> LabelledStore:
    """Return the labelled rows of a store that hides cells; `data` itself if nothing is hidden."""
    if not missing.rate:
        return data
    fields = {field.name: getattr(data.store, field.name) for field in dataclasses.fields(Store)}
    return dataclasses.replace(data, store=HidingStore(**fields, hiding=hiding, missing=missing, seed=seed))


def hidden_in(store: Store) -> str:
    """Return a text that identifies which cells a store hides at a seed and fold; "" for none."""
    if not isinstance(store, HidingStore):
        return ""
    return f"{store.missing.by} {store.missing.rate!r} {store.hiding.data.task.label}"


def part_of_columns(store: Store) -> dict[str, Any]:
    """Return the part of the identity of a score whose strategy hides columns of tables that are read in part."""
    order = store.order if isinstance(store, HidingStore) and store.hiding.reads else {}
    part = {name: len(read) for name, read in order.items() if len(read) < len(store.schema.entries[name].columns)}
    return {"missing_of": part} if part else {}


def tables_of(store: Store) -> list[str]:
    """Return the names of the store's input tables."""
    return [name for name, entry in store.schema.entries.items() if (entry.role, entry.kind) == ("input", "table")]


def check_missing(missing: Missingness, hiding: Hiding, tables: Collection[str]) -> None:
    """Raise `UserError` unless a strategy can hide this share of these tables of a store.

    A strategy that hides columns must hide one and leave one of those that are read; one that depends on the label
    needs one label.
    """
    data = hiding.data
    if missing.by == "label":
        single = len(data.columns) == 1
        check(single, f"--missing-by label: {data.task.label!r} has no rank that orders rows; name one --label column.")
    if missing.by in BY_COLUMN[1:]:
        forest = f"--missing-by {missing.by}: no forest predicts the mask {data.task.label!r}; name a --label column."
        check(len(data.columns) > 0, forest)
    for name in tables if missing.by in BY_COLUMN else ():
        count = len(hiding.columns_read(name))
        check(
            0 < missing.columns(count) < count,
            f"--missing {missing.rate:g} by {missing.by}: {missing.columns(count)} of the {count} columns of {name!r} "
            f"would be hidden; choose a rate that hides one and leaves one, or --missing-by cells.",
        )
