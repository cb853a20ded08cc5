"""Vectors: many numbers of one sort, such as genotypes or polygenic scores, which no column describes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, first_of
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.data.vectors import MISSING_INT8, VectorScale, is_missing
from mmcl_jax.errors import check


class Vector(Kind):
    """`[features]`; missing is NaN in floats and -127 in int8. The names of features are in a file beside it."""

    name = "vector"
    axes = ("features",)
    dtypes = ("float32", "float16", "int8")
    baseline = "features"
    named = "features"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Also raise `UserError` unless there are as many names as features."""
        super().check(name, schema, names)
        features = schema.entries[name].shape[0]
        check(features > 0, f"The entry {name!r} has no features.")
        check(
            len(names) in (0, features),
            f"The entry {name!r} has {features} features and {len(names)} names; give one name for each.",
        )

    def fill(self, dtype: np.dtype) -> float | int:
        """Return NaN, or -127 for int8."""
        return np.nan if dtype.kind == "f" else MISSING_INT8

    def inspects(self, entry: Entry) -> bool:
        """Whether numbers can be infinite."""
        return entry.dtype != "int8"

    def wrong(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an infinite value."""
        row = first_of(np.isinf(rows))
        return None if row is None else (row, "it has an infinite value")

    def fit(self, rows: Any, name: str, schema: Schema, names: Sequence[str]) -> VectorScale:
        """Return mean and standard deviation of the training rows, gathered in one pass."""
        present = getattr(rows, "present", None)
        return VectorScale.fit(rows, np.arange(len(rows)) if present is None else np.flatnonzero(present))

    def encode(self, rows: np.ndarray, fitted: VectorScale) -> np.ndarray:
        """Return float32 z-scores, NaN for missing."""
        values = np.where(is_missing(rows), np.nan, rows.astype(np.float32))
        return ((values - fitted.mean) / fitted.std).astype(np.float32)
