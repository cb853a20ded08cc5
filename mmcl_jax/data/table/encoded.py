"""Rows of a table that are encoded when they are indexed."""

from typing import Any

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.label_feature import raw_table

EAGER_BYTES = 2**28  # a split that takes at most 256 MiB is encoded once and held in memory
_BLOCK_BYTES = 2**26  # raw rows that are checked at once


class EncodedRows:
    """Encoded rows of a table, float32 `[N, F]`, indexed by row like an array; absent rows are NaN.

    Attributes:
      present: `[N]` bool, whether each row has the table; None for a table that every row has.
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, rows: Any, stored: Schema, encoding: Encoding, label: np.ndarray | None = None) -> None:
        """Store the raw rows and their encoding.

        Args:
          rows: raw rows `[N, columns]`, as `Store.read` returns them.
          stored: the schema with the columns of `rows`.
          encoding: encoding of all or some of these columns.
          label: codes `[N]` of the store's first class label, -1 for none; for an encoding with the label as a column.
        """
        self._rows, self._stored, self._encoding, self._label = rows, stored, encoding, label
        self.shape, self.present = (len(rows), len(encoding.schema.columns)), rows.present

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        if self.present is None:
            return self._encoding.encode(self.raw(rows))
        out = np.full((len(rows), self.shape[1]), np.nan, np.float32)
        present = self.present[rows]
        out[present] = self._encoding.encode(self.raw(rows[present]))
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def raw(self, rows: Any) -> np.ndarray:
        """Return raw rows, before they are encoded, float64 `[n, F]`.

        Raises:
          UserError: the rows lack a column of the encoding.
        """
        arrays = {"table": self._rows[rows]} | ({} if self._label is None else {"label": self._label[rows]})
        return raw_table(arrays, self._stored, self._encoding.schema)

    def check(self) -> None:
        """Raise `UserError` if a present row cannot be encoded; rows are read in blocks."""
        indices = np.arange(len(self)) if self.present is None else np.flatnonzero(self.present)
        size = max(1, _BLOCK_BYTES // max(1, 8 * self.shape[1]))
        self._encoding.check(self.raw(indices[start : start + size]) for start in range(0, len(indices), size))


def encoded_rows(
    rows: Any, stored: Schema, encoding: Encoding, label: np.ndarray | None = None
) -> np.ndarray | EncodedRows:
    """Return the encoded rows of a table: an array of at most `EAGER_BYTES`, or else `EncodedRows`.

    Both have the same bits. `EncodedRows` describes the arguments.

    Raises:
      UserError: the rows lack a column, or a row cannot be encoded.
    """
    encoded = EncodedRows(rows, stored, encoding, label)
    if len(encoded) * encoded.shape[1] * encoded.dtype.itemsize <= EAGER_BYTES:
        return encoded[:]
    encoded.check()
    return encoded
