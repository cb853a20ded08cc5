"""The standardisation of features by the training rows."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Standard:
    """The mean and standard deviation of features `[D]`, float64; the deviation of a constant feature is set to 1.

    Example:
      >>> Standard.of(np.array([[1.0, 5.0], [3.0, 5.0]])).apply(np.array([[4.0, 6.0]])).tolist()
      [[2.0, 1.0]]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray) -> "Standard":
        """Return the moments of training features `[N, D]`, or of all cells of feature maps `[N, h, w, D]`.

        They need no labels, so small label budgets use the moments of the full training split too.
        """
        axes = tuple(range(train.ndim - 1))
        mean, std = train.mean(axis=axes, dtype=np.float64), train.std(axis=axes, dtype=np.float64)
        return cls(mean, np.where(std > 1e-8, std, 1))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return standardised features of any split, float32."""
        return ((features - self.mean) / self.scale).astype(np.float32)
