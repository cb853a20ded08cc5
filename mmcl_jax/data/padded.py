"""Batches of one size that hold every row of a split once, for validation and evaluation."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class PaddedBatches:
    """The rows of a split in order, as batches; the last batch is padded with copies of its last row.

    Element `i` is this process's rows of global batch `i`; its `valid` is false for padding.

    Example:
      >>> batches = PaddedBatches({"id": np.arange(5)}, batch_size=3)
      >>> batches[1]["id"].tolist(), batches[1]["valid"].tolist()
      ([3, 4, 4], [True, True, False])
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        batch_size: int,
        take: np.ndarray | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Store `arrays` of equal length, the global batch size, and the rows to draw from (None: all)."""
        self._arrays, self._size = arrays, batch_size
        self._take = np.arange(len(arrays["id"])) if take is None else take
        self.rows = len(self._take)
        share = batch_size // processes
        self._share = slice(process * share, (process + 1) * share)

    def __len__(self) -> int:
        return -(-self.rows // self._size)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rows = np.arange(index * self._size, (index + 1) * self._size)[self._share]
        taken = self._take[np.minimum(rows, self.rows - 1)]
        return {name: np.asarray(array[taken]) for name, array in self._arrays.items()} | {"valid": rows < self.rows}

    def counts(self) -> np.ndarray:
        """Return the number of valid rows of every global batch."""
        return np.minimum(self._size, self.rows - self._size * np.arange(len(self)))
