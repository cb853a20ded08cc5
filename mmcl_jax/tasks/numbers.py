"""Several numbers at once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from mmcl_jax.tasks.task import Task, Units, mean_vote

_METRICS = {"r2": r2_score, "mae": mean_absolute_error, "rmse": root_mean_squared_error}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers(Task):
    """The prediction of K numbers: an output each; the squared errors of targets standardised by the training rows.

    Targets are `[N, K]`, NaN where a row lacks one: that is left out of the loss and of the metrics of its output.

    Attributes:
      names: of the K labels.

    Example:
      >>> task = Numbers(label="volumes", names=("lvedv", "lvesv"))
      >>> found = task.metrics(np.array([[1.0, 5.0], [3.0, 6.0]]), np.array([[1.0, 5.0], [3.0, np.nan]]))
      >>> found["r2/lvedv"], found["mae"]
      (1.0, 0.0)
    """

    name = "numbers"
    shown = ("r2", "mae")
    names: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """The numbers."""
        return len(self.names)

    @property
    def primary(self) -> str:
        """Return "r2", the mean over outputs, which does not depend on their units."""
        return "r2"

    def units(self, targets: np.ndarray) -> Units:
        """Return mean and standard deviation of every label over the rows that have it; a constant is only centred."""
        known = ~np.isnan(targets)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, targets, 0).sum(axis=0) / count
        sd = np.sqrt(np.where(known, (targets - mean) ** 2, 0).sum(axis=0) / count)
        return Units(mean, np.where(sd > 0, sd, 1))

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the sums of the squared errors, and how many numbers a row has."""
        known = ~jnp.isnan(targets)
        errors = jnp.where(known, jnp.square(outputs - jnp.where(known, targets, 0)), 0)
        return errors.sum(axis=-1), known.sum(axis=-1, dtype=jnp.float32)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the mean R2 of the outputs whose labels vary."""
        known = ~jnp.isnan(targets)
        filled = jnp.where(known, targets, 0)
        count = jnp.maximum(known.sum(axis=0, keepdims=True, dtype=jnp.float32), 1)
        off = jnp.where(known, filled - filled.sum(axis=0, keepdims=True) / count, 0)
        total, errors = jnp.square(off).sum(axis=0), jnp.where(known, jnp.square(outputs - filled), 0).sum(axis=0)
        r2 = jnp.where(total > 0, 1 - errors / jnp.where(total > 0, total, 1), 0)
        return r2.sum() / (total > 0).sum(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `r2`, `mae` and `rmse`: the mean over outputs, and of every output, such as `r2/LABEL`.

        An output whose labels do not vary has no R2 (NaN), and the mean is over the others.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
        assert outputs.shape == targets.shape, (outputs.shape, targets.shape)
        if not np.isfinite(outputs).all():
            outputs = np.full_like(outputs, np.nan)
        measured: dict[str, float] = {}
        for name in _METRICS:
            found = [_measured(name, outputs[:, k], targets[:, k]) for k in range(self.outputs)]
            measured[name] = float("nan") if np.isnan(found).all() else float(np.nanmean(found))
            measured |= {f"{name}/{label}": value for label, value in zip(self.names, found, strict=True)}
        return measured

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the weighted means `[M, K]` over the neighbours that have the number; NaN where none has."""
        return mean_vote(weights, targets)


def _measured(name: str, predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return a metric of one output over the rows that have its label; NaN where it has none."""
    known = ~np.isnan(targets)
    some = known.any() and (name != "r2" or np.ptp(targets[known]) > 0)
    if not some or not np.isfinite(predictions).all():
        return float("nan")
    return float(_METRICS[name](targets[known], predictions[known]))
