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

    The code -1 of an input stands for a category that is not among the column's; see `prepare --like`.

    Example:
      >>> from mmcl_jax.data.schema import Column, Entry
      >>> columns = (Column(name="age", kind="continuous"), Column(name="sex", kind="boolean", categories=("f", "m")))
      >>> schema = Schema({"table": Entry(kind="table", shape=(2,), dtype="float64", columns=columns)})
      >>> TableKind().fault(np.array([[61.0, 1.0], [np.nan, 2.0]]), "table", schema, ())
      (1, "in the column 'sex' no category has the code 2")
    """

    name = "table"
    axes = ("columns",)
    dtypes = ("float64",)
    baseline = "columns"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Raise `UserError` as `Kind.check` does, and unless a row has one value per column."""
        super().check(name, schema, names)
        entry = schema.entries[name]
        columns = len(entry.columns)
        check(
            entry.shape == (columns,),
            f"The entry {name!r} has rows of {entry.shape[0]} values but {columns} columns; make them equal.",
        )

    def fill(self, dtype: np.dtype) -> float | int:
        """Return NaN."""
        return np.nan

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an infinite value, or a code without a category."""
        for values, column in zip(rows.T, schema.entries[name].columns, strict=True):
            present = ~np.isnan(values)
            invalid = np.isinf(values)
            if column.coded:
                least = -1 if schema.entries[name].role == "input" else 0
                invalid |= present & (
                    (values < least) | (values >= len(column.categories)) | (np.rint(values) != values)
                )
            if invalid.any():
                row = int(invalid.argmax())
                value = values[row]
                reason = f"no category has the code {value:g}" if column.coded else f"its value is {value:g}"
                return row, f"in the column {column.name!r} {reason}"
        return None

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> Encoding:
        """Return an encoding that leaves missing values NaN."""
        entry = schema.entries[name]
        parts = list(chunks(rows))
        table = np.concatenate(parts) if parts else np.zeros((0, *entry.shape))
        of_table = Schema({name: entry}, columns=entry.columns)
        return Encoding.fit(table, of_table, Statistics.fit(table, of_table), missing="indicator")

    def encode(self, rows: np.ndarray, fitted: Encoding) -> np.ndarray:
        """Return float32 z-scores and codes, NaN for missing."""
        return fitted.encode(rows)

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the number of columns, by kind."""
        kinds = [column.kind for column in schema.entries[name].columns]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return [f"{len(kinds)} column{'s' if len(kinds) != 1 else ''}: {counts}"]
