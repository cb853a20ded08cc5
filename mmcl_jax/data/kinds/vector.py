"""Vectors: many numbers of one sort, such as genotypes or polygenic scores, which no column describes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_of
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check

MISSING = -127  # of int8
_BLOCK_BYTES = 2**20  # of stored rows that are fitted at once: as float64 they stay in a processor's cache


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation `[F]` of the values that are not missing, 0 and 1 where there is none.

    The standard deviation of a feature that is constant is 1, too.
    """

    mean: np.ndarray
    std: np.ndarray


class VectorKind(Kind):
    """`[features]`; missing is NaN in floats and -127 in int8. The names of features are in a file beside it.

    Example:
      >>> schema = Schema({"genes": Entry(kind="vector", shape=(2,), dtype="float32")})
      >>> rows = np.array([[1, 0], [3, 0]], np.float32)
      >>> fitted = VectorKind().fit(rows, "genes", schema, ())
      >>> VectorKind().encode(np.array([[3, np.nan]], np.float32), fitted).tolist()
      [[1.0, nan]]
    """

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
        return np.nan if dtype.kind == "f" else MISSING

    def inspects(self, entry: Entry) -> bool:
        """Return whether numbers can be infinite."""
        return entry.dtype != "int8"

    def wrong(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an infinite value."""
        row = first_of(np.isinf(rows))
        return None if row is None else (row, "it has an infinite value")

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> Moments:
        """Return the moments of the training rows, gathered in float64 in one pass (Chan et al., 1979).

        The pass holds a few blocks of `_BLOCK_BYTES` and a few arrays `[F]`, however many rows there are.
        """
        features = schema.entries[name].shape[0]
        count, mean, squares = np.zeros(features), np.zeros(features), np.zeros(features)
        for part in chunks(rows, most=_BLOCK_BYTES):
            values, missing = part.astype(np.float64), is_missing(part)
            values[missing] = 0
            here = len(part) - missing.sum(axis=0)
            own = values.sum(axis=0) / np.maximum(here, 1)
            values -= own
            values[missing] = 0
            difference, total = own - mean, np.maximum(count + here, 1)
            squares += np.einsum("ij,ij->j", values, values) + difference**2 * count * here / total
            mean += difference * here / total
            count += here
        # The sums of a constant are exact: the types that are stored have at most 24 bits.
        std = np.sqrt(squares / np.maximum(count, 1))
        return Moments(mean, np.where(std > 0, std, 1.0))

    def encode(self, rows: np.ndarray, fitted: Moments) -> np.ndarray:
        """Return float32 z-scores, NaN for missing."""
        return np.where(is_missing(rows), np.float32(np.nan), z_scores(rows, fitted.mean, fitted.std))


def is_missing(values: Any) -> Any:
    """Return which values of vectors, a NumPy or JAX array, are missing, bool: NaN in floats, -127 in int8."""
    return values == MISSING if values.dtype.kind == "i" else values != values


def z_scores(values: Any, mean: Any, std: Any) -> Any:
    """Return vectors `[N, F]` in standard deviations of their features `[F]`, float32; a missing value is the mean, 0.

    Arrays are of NumPy or of JAX, and so is the result.

    Example:
      >>> z_scores(np.array([[3, -127]], np.int8), np.array([1.0, 0.0]), np.array([2.0, 1.0])).tolist()
      [[1.0, 0.0]]
    """
    xp = values.__array_namespace__()
    mean, std = (xp.asarray(moment, dtype=xp.float32)[None] for moment in (mean, std))
    return xp.where(is_missing(values), xp.float32(0), (values.astype(xp.float32) - mean) / std)


def _numbers(rows: np.ndarray) -> np.ndarray:
    """Return rows as floats with NaN for missing."""
    return rows if rows.dtype.kind == "f" else np.where(is_missing(rows), np.nan, rows.astype(np.float32))
