"""What vectors are scaled with, fitted on training rows; see `views.vector`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.files import reading

VECTOR_POLICIES = ("refuse", "mean")
MISSING_INT8 = -127
_CHUNK_BYTES = 2**25


def is_missing(rows: np.ndarray) -> np.ndarray:
    """Return which values are missing, bool: NaN in floats, -127 in int8."""
    return np.isnan(rows) if np.issubdtype(rows.dtype, np.floating) else rows == MISSING_INT8


@dataclasses.dataclass(frozen=True)
class VectorScale:
    """Mean and standard deviation of every feature, `[F]` float32, over the training rows that have it.

    A feature that is constant, or that no row has, has the standard deviation 1.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, rows: Any, places: np.ndarray) -> "VectorScale":
        """Fit on some rows of an array `[N, F]`, which is read a few rows at a time.

        Args:
          rows: what an array of row numbers can index.
          places: numbers of the rows to fit on.
        """
        features = rows.shape[1]
        count, mean, squares = np.zeros(features), np.zeros(features), np.zeros(features)
        size = max(1, _CHUNK_BYTES // (8 * features))
        for start in range(0, len(places), size):
            part = np.asarray(rows[places[start : start + size]])
            known = ~is_missing(part)
            values = np.where(known, part, 0).astype(np.float64)
            here = known.sum(axis=0)
            average = values.sum(axis=0) / np.maximum(here, 1)
            spread = np.where(known, np.square(values - average), 0).sum(axis=0)
            total = np.maximum(count + here, 1)  # Chan et al.: mean and squares of two parts together
            squares += spread + np.square(average - mean) * count * here / total
            mean += (average - mean) * here / total
            count += here
        std = np.sqrt(squares / np.maximum(count, 1))
        return cls(mean.astype(np.float32), np.where(std > 0, std, 1).astype(np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fields by name, as views take them."""
        return {"mean": self.mean, "std": self.std}

    def write(self, path: Path) -> None:
        """Write an `.npz` file."""
        arrays: Mapping[str, Any] = self.to_arrays()
        np.savez(path, **arrays)

    @classmethod
    def read(cls, path: Path) -> "VectorScale":
        """Read what `write` wrote.

        Raises:
          UserError: the file is missing or damaged.
        """
        with reading(path, "put a copy of the file back"), np.load(path, allow_pickle=False) as file:
            return cls(file["mean"], file["std"])


class CompleteRows:
    """Rows of vectors none of whose values may be missing; every gather is checked."""

    def __init__(self, rows: Any, name: str) -> None:
        """Take the rows, which an array of row numbers can index, and the name of their input."""
        self._rows, self._name = rows, name
        self.shape, self.dtype, self.ndim = rows.shape, rows.dtype, 2
        self.present: np.ndarray | None = getattr(rows, "present", None)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        values = np.asarray(self._rows[rows])
        absent = is_missing(values)
        if self.present is not None:
            absent &= self.present[rows].reshape(-1, *[1] * (values.ndim - 1))
        check(
            not absent.any(),
            f"config.inputs.{self._name}.missing: {int(absent.sum())} of the values that were read are missing; put the "
            f"training mean in their place with --config.inputs.{self._name}.missing=mean.",
        )
        return values
