"""Iterative multivariate imputation, fitted once and replayed on any row."""

import dataclasses
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.progress import Foresight

MOST_COLUMNS = 1000


def _counted(foresight: Foresight) -> Any:
    """Return scikit-learn's Bayesian ridge regression, whose fits are counted."""
    from sklearn.linear_model import BayesianRidge

    done = itertools.count(1)

    class Counted(BayesianRidge):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            super().fit(X, y, sample_weight)
            foresight.update(next(done))
            return self

    return Counted()


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeImputer:
    """Linear regressions, applied in order: value of column `target[t]` = `coefficients[t] @ row + intercept[t]`.

    Attributes:
      initial: `[F]`, the means of the columns, from which missing values start.
      target: `[T]`, index of the column that each regression predicts.
      coefficients: `[T, F]`, 0 for the column itself.
      intercept: `[T]`.
    """

    initial: np.ndarray
    target: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(
        cls, rows: np.ndarray, *, rounds: int = 10, tolerance: float = 1e-3, input: str = "table"
    ) -> "IterativeImputer":
        """Fit the regressions on training rows `[N, F]`, NaN for missing (Hager et al., CVPR 2023, section 4.1).

        Missing values start from their column's mean. In each round every column, the one with the fewest missing
        values first, is regressed on all others (Bayesian ridge regression, by scikit-learn). Rounds end
        after `rounds`, or when max |X_t - X_{t-1}| / max |X| < `tolerance`. `input` is the name in messages.

        Raises:
          UserError: there are more than `MOST_COLUMNS` columns; the regressions would not fit into memory.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer as Fitted

        columns = rows.shape[1]
        check(
            columns <= MOST_COLUMNS,
            f"config.inputs.{input}.missing: iterative imputation of {columns} columns takes too much memory; "
            f"the limit is {MOST_COLUMNS}. Choose mean, token or indicator, or fewer columns.",
        )
        work = f"config.inputs.{input}.missing: iterative imputation of {columns:,} columns in {len(rows):,} rows"
        advice = f"--config.inputs.{input}.missing=mean takes seconds"
        regression = _counted(Foresight(work, rounds * columns, advice))
        fitted = Fitted(
            regression, max_iter=rounds, tol=tolerance, keep_empty_features=True, imputation_order="ascending"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the paper stops after a fixed number of rounds, too
            fitted.fit(rows)
        # A single column has no regression; a missing value of a later row is filled with the mean.
        sequence = getattr(fitted, "imputation_sequence_", [])
        coefficients = np.zeros((len(sequence), columns))
        for step, (_, others, model) in enumerate(sequence):
            coefficients[step, others] = model.coef_
        return cls(
            initial=np.asarray(fitted.initial_imputer_.statistics_, np.float64),
            target=np.array([target for target, _, _ in sequence], np.int64),
            coefficients=coefficients,
            intercept=np.array([model.intercept_ for _, _, model in sequence], np.float64),
        )

    def fill(self, rows: np.ndarray) -> np.ndarray:
        """Return rows `[N, F]` with every NaN filled. A row's result does not depend on the other rows."""
        absent = np.isnan(rows)
        rows = np.ascontiguousarray(np.where(absent, self.initial, rows))  # sums depend on the order in memory
        if not absent.any():
            return rows
        incomplete = np.flatnonzero(absent.any(axis=1))
        part, part_absent = rows[incomplete], absent[incomplete]
        for target, coefficients, intercept in zip(self.target, self.coefficients, self.intercept, strict=True):
            mask = part_absent[:, target]
            if mask.any():  # a sum along each row, since the rounding of a matrix product depends on its size
                part[mask, target] = (part[mask] * coefficients).sum(axis=1) + intercept
        rows[incomplete] = part
        return rows

    def write(self, path: Path) -> None:
        """Write the arrays as `.npz`."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def read(cls, path: Path) -> "IterativeImputer":
        """Read the file that `write` wrote. Raises `ValueError` if its arrays do not fit one another."""
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            read = cls(**{field.name: arrays[field.name] for field in dataclasses.fields(cls)})
        steps, columns = len(np.atleast_1d(read.target)), len(np.atleast_1d(read.initial))
        shapes = {"initial": (columns,), "target": (steps,), "coefficients": (steps, columns), "intercept": (steps,)}
        for name, shape in shapes.items():
            array: np.ndarray = getattr(read, name)
            if array.shape != shape or array.dtype != (np.int64 if name == "target" else np.float64):
                raise ValueError(f"{name} is {array.dtype} of the shape {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds a value that is not finite")
        if steps and not (read.target.min() >= 0 and read.target.max() < columns):
            raise ValueError(f"target names a column beyond the {columns}")
        return read
