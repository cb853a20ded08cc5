"""Vectors: many numbers of one sort, such as genotypes or polygenic scores, without columns in the schema."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_true_row
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check

MISSING = -127  # in int8
VECTOR_POLICIES = ("refuse", "mean", "mode")  # for missing values
_BLOCK_BYTES = 2**20  # stored rows that are fitted at once: as float64 they stay in a processor's cache


@dataclasses.dataclass(frozen=True)
class Moments:
    """The mean and population standard deviation `[F]` of the present values; 0 and 1 for a feature without values.

    The standard deviation of a constant feature is 1, too.
    """

    mean: np.ndarray
    std: np.ndarray


class VectorKind(Kind):
    """`[features]`; a missing value is NaN in floats and -127 in int8. `NAME.names.txt` has the features' names.

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
        """Raise `UserError` as `Kind.check` does, and unless every feature or none has a name."""
        super().check(name, schema, names)
        features = schema.entries[name].shape[0]
        check(features > 0, f"The entry {name!r} has no features.")
        check(
            len(names) in (0, features),
            f"The entry {name!r} has {features} features but {len(names)} names; give one name per feature, or none.",
        )

    def fill(self, dtype: np.dtype) -> float | int:
        """Return NaN, or -127 for int8."""
        return np.nan if dtype.kind == "f" else MISSING

    def can_have_faults(self, entry: Entry) -> bool:
        """Return whether the type has infinite values."""
        return entry.dtype != "int8"

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an infinite value."""
        row = first_true_row(np.isinf(rows))
        return None if row is None else (row, "it has an infinite value")

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> Moments:
        """Return the moments of the training rows, computed in float64 in one pass (Chan et al., 1979).

        Memory is a few blocks of `_BLOCK_BYTES` and a few arrays `[F]`, whatever the number of rows.
        """
        features = schema.entries[name].shape[0]
        count, mean, squares = np.zeros(features), np.zeros(features), np.zeros(features)
        for part in chunks(rows, most=_BLOCK_BYTES):
            values, missing = part.astype(np.float64), is_missing(part)
            values[missing] = 0
            part_count = len(part) - missing.sum(axis=0)
            part_mean = values.sum(axis=0) / np.maximum(part_count, 1)
            values -= part_mean
            values[missing] = 0
            difference, total = part_mean - mean, np.maximum(count + part_count, 1)
            squares += np.einsum("ij,ij->j", values, values) + difference**2 * count * part_count / total
            mean += difference * part_count / total
            count += part_count
        # The sums of a constant feature are exact, since stored types have at most 24 bits.
        std = np.sqrt(squares / np.maximum(count, 1))
        return Moments(mean, np.where(std > 0, std, 1.0))

    def encode(self, rows: np.ndarray, fitted: Moments) -> np.ndarray:
        """Return float32 z-scores, NaN for missing."""
        return np.where(is_missing(rows), np.float32(np.nan), z_scores(rows, fitted.mean, fitted.std))


def filled(moments: Moments, rows: Any, *, missing: str, scale: str) -> dict[str, np.ndarray]:
    """Return the arrays that the views of a vector read, fitted on the training rows.

    `mean` and `std` `[F]` float32 are what is subtracted and divided by: 0 and 1 without scaling. `fill` `[F]` float32
    replaces missing values; without it, `mean` does. ContIG's code fits the mode on everybody, also on test people.

    Args:
      moments: of the training rows.
      rows: the training rows `[N, F]`.
      missing: "mode" for the most frequent value of each feature (the lowest of several); for other policies, the mean.
      scale: "std" or "none".

    Example:
      >>> rows = np.array([[0], [0], [2], [-127]], np.int8)
      >>> fitted = filled(Moments(np.array([0.67]), np.array([0.94])), rows, missing="mode", scale="none")
      >>> {name: array.tolist() for name, array in fitted.items()}
      {'mean': [0.0], 'std': [1.0], 'fill': [0.0]}
    """
    mean, std = (np.asarray(moment, np.float32) for moment in (moments.mean, moments.std))
    fill = modes(rows, len(mean)) if missing == "mode" else mean
    if scale == "none":
        mean, std = np.zeros_like(mean), np.ones_like(std)
    arrays = {"mean": mean, "std": std}
    return arrays if fill is mean else {**arrays, "fill": fill}


def modes(rows: Any, features: int) -> np.ndarray:
    """Return the most frequent value `[F]` float32 of each feature of int8 rows, the lowest of several.

    A feature without values has 0. Memory is an array `[F]` per distinct value.
    """
    counts: dict[int, np.ndarray] = {}
    for part in chunks(rows, most=_BLOCK_BYTES):
        occurring = np.flatnonzero(np.bincount(part.view(np.uint8).ravel(), minlength=256)).astype(np.uint8)
        for value in occurring.view(np.int8).tolist():
            if value != MISSING:
                of = counts.setdefault(value, np.zeros(features, np.int64))
                of += (part == value).sum(axis=0)
    best, most = np.zeros(features, np.float32), np.zeros(features, np.int64)
    for value in sorted(counts):
        more = counts[value] > most
        best[more], most[more] = value, counts[value][more]
    return best


def is_missing(values: Any) -> Any:
    """Return the mask of missing values (NaN in floats, -127 in int8) of vectors, a NumPy or JAX array."""
    return values == MISSING if values.dtype.kind == "i" else values != values


def z_scores(values: Any, mean: Any, std: Any, fill: Any = None) -> Any:
    """Return `(values - mean) / std` `[N, F]` float32 of vectors, with `fill`, or else the mean, for missing values.

    Arrays are of NumPy or of JAX, and so is the result. `mean`, `std` and `fill` are `[F]`.

    Example:
      >>> mean, std = np.array([1.0, 0.0]), np.array([2.0, 1.0])
      >>> z_scores(np.array([[3, -127]], np.int8), mean, std).tolist()
      [[1.0, 0.0]]
      >>> z_scores(np.array([[3, -127]], np.int8), mean, std, np.array([1.0, 2.0])).tolist()
      [[1.0, 2.0]]
    """
    xp = values.__array_namespace__()
    mean, std = (xp.asarray(moment, dtype=xp.float32)[None] for moment in (mean, std))
    if fill is None:
        return xp.where(is_missing(values), xp.float32(0), (values.astype(xp.float32) - mean) / std)
    fill = xp.asarray(fill, dtype=xp.float32)[None]
    return (xp.where(is_missing(values), fill, values.astype(xp.float32)) - mean) / std


def _numbers(rows: np.ndarray) -> np.ndarray:
    """Return the rows as floats, with NaN for a missing value."""
    return rows if rows.dtype.kind == "f" else np.where(is_missing(rows), np.nan, rows.astype(np.float32))
