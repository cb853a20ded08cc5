"""Some rows of an entry, read from a mapped array as they are asked for."""

from typing import Any

import numpy as np


class MappedRows:
    """Rows of a store's entry, which can be indexed by row like an array of the shape `shape`.

    Attributes:
      values: `[R, *entry_shape]`, the rows that exist; the whole of a `.npy` file where they are mapped.
      at: `[N]` or, with several pictures of a row, `[N, V]`: their index in `values`, -1 for absent.
      present: `[N]`, which rows have the entry; None for an entry that every row has.
      counts: `[N]`, how many pictures each row has; None for an entry with one.
      shape: `(N, *entry_shape)` or `(N, V, *entry_shape)`.
    """

    def __init__(self, values: np.ndarray, at: np.ndarray, *, fill: float, optional: bool = False) -> None:
        """Take `values` and `at`; what is absent has the value `fill`, and `optional` entries have `present`."""
        self.values, self.at = values, at
        self.entry_shape, self.dtype = values.shape[1:], values.dtype
        self.shape = (*at.shape, *self.entry_shape)
        self.ndim = len(self.shape)
        first = at if at.ndim == 1 else at[:, 0]
        self.present = first >= 0 if optional else None
        self.counts = (at >= 0).sum(axis=1) if at.ndim == 2 else None
        self._fill, self._whole = fill, bool((at >= 0).all())

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Any) -> np.ndarray:
        at = self.at[rows]
        if self._whole:
            return self.values[at]
        made = np.full((*np.shape(at), *self.entry_shape), self._fill, self.dtype)
        known = at >= 0
        made[known] = self.values[at[known]]
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.whole(), dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a worker process, which maps a file that is mapped here; its bytes are not sent."""
        if not isinstance(self.values, np.memmap):
            return self.__dict__
        return {**self.__dict__, "values": (self.values.filename, self.values.shape)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.values, tuple):
            path, shape = self.values
            self.values = np.load(path, mmap_mode="r", allow_pickle=False).reshape(shape)

    def whole(self) -> np.ndarray:
        """Return all rows: a part of the mapped array where they follow one another in it, else a copy."""
        first = int(self.at.flat[0]) if self.at.size else 0
        if self._whole and self.at.ndim == 1 and np.array_equal(self.at, np.arange(first, first + len(self))):
            return self.values[first : first + len(self)]
        return self[:]
