"""Rows of an entry that are read from a mapped array when they are indexed."""

from typing import Any

import numpy as np


class MappedRows:
    """Rows of a store's entry, indexed by row like an array of the shape `shape`.

    Attributes:
      values: `[R, *entry_shape]`, the distinct rows; if mapped, all of a `.npy` file.
      at: `[N]` or, with several images per row, `[N, V]`: the index of each row in `values`, -1 for absent.
      present: `[N]` bool, whether each row has the entry; None for an entry that every row has.
      counts: `[N]`, the number of images of each row; None for an entry with one image per row.
      shape: `(N, *entry_shape)` or `(N, V, *entry_shape)`.
    """

    def __init__(self, values: np.ndarray, at: np.ndarray, *, fill: float, optional: bool = False) -> None:
        """Store `values` and `at`; absent rows are filled with `fill`, and `present` is set for `optional` entries."""
        self.values, self.at = values, at
        self.entry_shape, self.dtype = values.shape[1:], values.dtype
        self.shape = (*at.shape, *self.entry_shape)
        self.ndim = len(self.shape)
        first = at if at.ndim == 1 else at[:, 0]
        self.present = first >= 0 if optional else None
        self.counts = (at >= 0).sum(axis=1) if at.ndim == 2 else None
        self._fill, self._complete = fill, bool((at >= 0).all())

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Any) -> np.ndarray:
        at = self.at[rows]
        if self._complete:
            return self.values[at]
        out = np.full((*np.shape(at), *self.entry_shape), self._fill, self.dtype)
        present = at >= 0
        out[present] = self.values[at[present]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.all_rows(), dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a worker process; of mapped values, it has the file name in place of the bytes."""
        if not isinstance(self.values, np.memmap):
            return self.__dict__
        return {**self.__dict__, "values": (self.values.filename, self.values.shape)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.values, tuple):
            path, shape = self.values
            self.values = np.load(path, mmap_mode="r", allow_pickle=False).reshape(shape)

    def all_rows(self) -> np.ndarray:
        """Return all rows as one array: a slice of `values` if they are consecutive in it, else a copy."""
        first = int(self.at.flat[0]) if self.at.size else 0
        if self._complete and self.at.ndim == 1 and np.array_equal(self.at, np.arange(first, first + len(self))):
            return self.values[first : first + len(self)]
        return self[:]
