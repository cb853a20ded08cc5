"""Rows of a table that are encoded as they are asked for."""

from typing import Any

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.label_feature import raw_table

EAGER_BYTES = 2**28  # a split of at most 256 MiB, encoded, is encoded once and kept
_BLOCK_BYTES = 2**26  # of raw rows that are checked at once


class EncodedRows:
    """Encoded rows of a table, float32 `[N, F]`, which can be indexed by row like an array; absent rows are NaN.

    Attributes:
      present: `[N]`, which rows have the table; None for a table that every row has.
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, rows: Any, stored: Schema, encoding: Encoding, label: np.ndarray | None = None) -> None:
        """Take what is encoded and how.

        Args:
          rows: raw rows `[N, columns]`, as `Store.read` gives them.
          stored: the schema whose columns they are.
          encoding: of some of the columns, or of all.
          label: codes `[N]` of the store's first class label, -1 for none, for an encoding that has it as a column.
        """
        self._rows, self._stored, self._encoding, self._label = rows, stored, encoding, label
        self.shape, self.present = (len(rows), len(encoding.schema.columns)), rows.present

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        if self.present is None:
            return self._encoding.encode(self.raw(rows))
        made = np.full((len(rows), self.shape[1]), np.nan, np.float32)
        there = self.present[rows]
        made[there] = self._encoding.encode(self.raw(rows[there]))
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def raw(self, rows: Any) -> np.ndarray:
        """Return rows before they are encoded, float64 `[n, F]`.

        Raises:
          UserError: a column of the encoding is not stored.
        """
        arrays = {"table": self._rows[rows]} | ({} if self._label is None else {"label": self._label[rows]})
        return raw_table(arrays, self._stored, self._encoding.schema)

    def check(self) -> None:
        """Raise `UserError` if a row that is there cannot be encoded; rows are read some at a time."""
        every = np.arange(len(self)) if self.present is None else np.flatnonzero(self.present)
        size = max(1, _BLOCK_BYTES // max(1, 8 * self.shape[1]))
        self._encoding.check(self.raw(every[start : start + size]) for start in range(0, len(every), size))


def encoded_rows(
    rows: Any, stored: Schema, encoding: Encoding, label: np.ndarray | None = None
) -> np.ndarray | EncodedRows:
    """Return the rows of a table encoded: at once where they take at most `EAGER_BYTES`, else as they are asked for.

    Both give the same bits. For the arguments see `EncodedRows`.

    Raises:
      UserError: a column is not stored, or a row cannot be encoded.
    """
    made = EncodedRows(rows, stored, encoding, label)
    if len(made) * made.shape[1] * made.dtype.itemsize <= EAGER_BYTES:
        return made[:]
    made.check()
    return made
