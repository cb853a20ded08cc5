"""The prediction of one number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from mmcl_jax.tasks.tail import TAIL, tail_errors
from mmcl_jax.tasks.task import Details, Task, Units, spread_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number(Task):
    """The prediction of a number: one output, the squared error of targets standardised by the training rows.

    Example:
      >>> task = Number(label="price")
      >>> task.metrics(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 5.0]))["r2"]
      0.75
    """

    name = "number"
    shown = ("mae", "pearson")
    details = Details("errors", ("mse", "r2", *TAIL))

    @property
    def outputs(self) -> int:
        """One output, the number."""
        return 1

    @property
    def primary(self) -> str:
        """Return "mse"."""
        return "mse"

    def units(self, targets: np.ndarray) -> Units:
        """Return mean and standard deviation of the targets; a constant target is only centred."""
        return Units(float(targets.mean()), spread_of(targets))

    def natural(self, score: float, units: Units) -> float:
        """Return the mean squared error in squared units of the label."""
        return float(self.sign * score * units.scale**2)

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the squared errors, and 1, since every row has one label."""
        return jnp.square(outputs[..., 0] - targets), jnp.float32(1)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return minus the mean squared error."""
        return -self.mean_loss(outputs, targets)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `mse`, `mae`, `r2` (NaN for constant labels), `pearson` (also NaN for constant predictions), tails.

        The tails are the 90th and 95th percentile and the maximum of the absolute errors (see `tasks.tail`).
        """
        predictions = np.asarray(outputs, np.float64)[:, 0]
        if not np.isfinite(predictions).all():
            return dict.fromkeys(("mse", "mae", "r2", "pearson", *TAIL), float("nan"))
        varies = len(targets) > 1 and np.ptp(targets) > 0
        return {
            "mse": float(mean_squared_error(targets, predictions)),
            "mae": float(mean_absolute_error(targets, predictions)),
            "r2": float(r2_score(targets, predictions)) if varies else float("nan"),
            "pearson": pearson(predictions, targets) if varies else float("nan"),
            **tail_errors(predictions, targets),
        }

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return the squared errors."""
        return np.square(np.asarray(outputs, np.float64)[:, 0] - targets)

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the weighted mean of the neighbours' numbers."""
        return (weights * targets).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)


def pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return Pearson's correlation; NaN if all predictions are the same."""
    return float(pearsonr(predictions, targets).statistic) if np.ptp(predictions) > 0 else float("nan")
