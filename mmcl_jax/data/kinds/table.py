"""Tables: numbers, dates and codes of categories, in columns that the schema describes."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check


class TableKind(Kind):
    """`[columns]` raw values, NaN for missing. Labels are a table with the role `target`.

    Example:
      >>> from mmcl_jax.data.schema import Column, Entry
      >>> columns = (Column(name="age", kind="continuous"), Column(name="sex", kind="boolean", categories=("f", "m")))
      >>> schema = Schema({"table": Entry(kind="table", shape=(2,), dtype="float64", columns=columns)})
      >>> TableKind().wrong(np.array([[61.0, 1.0], [np.nan, 2.0]]), "table", schema, ())
      (1, "in the column 'sex' no category has the code 2")
    """

    name = "table"
    axes = ("columns",)
    dtypes = ("float64",)
    baseline = "columns"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Also raise `UserError` unless there are as many columns as values."""
        super().check(name, schema, names)
        entry = schema.entries[name]
        check(
            entry.shape == (len(entry.columns),),
            f"The entry {name!r} has rows of {entry.shape[0]} values, and {len(entry.columns)} columns.",
        )

    def fill(self, dtype: np.dtype) -> float | int:
        """Return NaN."""
        return np.nan

    def wrong(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an infinite value, or a code without a category."""
        for values, column in zip(rows.T, schema.entries[name].columns, strict=True):
            known = ~np.isnan(values)
            bad = np.isinf(values)
            if column.coded:
                bad |= known & ((values < 0) | (values >= len(column.categories)) | (np.rint(values) != values))
            if bad.any():
                row = int(bad.argmax())
                what = f"no category has the code {values[row]:g}" if column.coded else f"its value is {values[row]:g}"
                return row, f"in the column {column.name!r} {what}"
        return None

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> Encoding:
        """Return the encoding that leaves missing values NaN."""
        entry = schema.entries[name]
        parts = list(chunks(rows))
        table = np.concatenate(parts) if parts else np.zeros((0, *entry.shape))
        of_table = Schema({name: entry}, columns=entry.columns)
        return Encoding.fit(table, of_table, Statistics.fit(table, of_table), missing="token")

    def encode(self, rows: np.ndarray, fitted: Encoding) -> np.ndarray:
        """Return float32 z-scores and codes, NaN for missing."""
        return fitted.encode(rows)

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the number of columns, by kind."""
        kinds = [column.kind for column in schema.entries[name].columns]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return [f"{len(kinds)} column{'s' if len(kinds) != 1 else ''}: {counts}"]
