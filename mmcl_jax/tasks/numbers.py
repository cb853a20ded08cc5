"""The prediction of several numbers at once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from mmcl_jax.tasks.tail import TAIL, tail_error
from mmcl_jax.tasks.task import Details, Task, Units, mean_vote, spread_of

_METRICS = {
    "r2": r2_score,
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "mse": mean_squared_error,
    **{name: functools.partial(tail_error, name=name) for name in TAIL},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers(Task):
    """The prediction of K numbers: an output each; the squared errors of targets standardised by the training rows.

    Targets are `[N, K]`, NaN where a row lacks a number, which is left out of the loss and of the metrics.

    Attributes:
      names: of the K labels.

    Example:
      >>> task = Numbers(label="volumes", names=("lvedv", "lvesv"))
      >>> metrics = task.metrics(np.array([[1.0, 5.0], [3.0, 6.0]]), np.array([[1.0, 5.0], [3.0, np.nan]]))
      >>> metrics["r2/lvedv"], metrics["mae"]
      (1.0, 0.0)
    """

    name = "numbers"
    shown = ("r2", "mae")
    details = Details("errors", ("mse", "standardised_mse_sum", *TAIL))
    names: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """One output per number."""
        return len(self.names)

    @property
    def primary(self) -> str:
        """Return "r2", the mean over outputs, which does not depend on their units."""
        return "r2"

    def units(self, targets: np.ndarray) -> Units:
        """Return mean and standard deviation of every label over its rows; a constant label is only centred."""
        by_label = [values[~np.isnan(values)] for values in targets.T]
        mean = [values.mean() if len(values) else 0.0 for values in by_label]
        return Units(np.array(mean), np.array([spread_of(values) for values in by_label]))

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the summed squared errors, and the number of labels, of every row."""
        valid = ~jnp.isnan(targets)
        errors = jnp.where(valid, jnp.square(outputs - jnp.where(valid, targets, 0)), 0)
        return errors.sum(axis=-1), valid.sum(axis=-1, dtype=jnp.float32)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the mean R2 of the outputs whose labels vary."""
        valid = ~jnp.isnan(targets)
        filled = jnp.where(valid, targets, 0)
        count = jnp.maximum(valid.sum(axis=0, keepdims=True, dtype=jnp.float32), 1)
        off = jnp.where(valid, filled - filled.sum(axis=0, keepdims=True) / count, 0)
        total, errors = jnp.square(off).sum(axis=0), jnp.where(valid, jnp.square(outputs - filled), 0).sum(axis=0)
        r2 = jnp.where(total > 0, 1 - errors / jnp.where(total > 0, total, 1), 0)
        return r2.sum() / (total > 0).sum(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `r2`, `mae`, `rmse`, `mse` and tails: the mean over outputs, and every output's, such as `r2/LABEL`.

        The R2 of an output with constant labels is NaN, and is left out of the mean. `standardised_mse_sum` is the sum
        over outputs of the mean squared error divided by the variance of the label in the split, `sum_k (1 - R2_k)`:
        predicting the mean of every label gives K. ContIG (Taleb et al., CVPR 2022) reports this number for age, body
        mass index and blood pressure, whose scalers it fits on each split. It is NaN if a label is constant.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
        assert outputs.shape == targets.shape, (outputs.shape, targets.shape)
        if not np.isfinite(outputs).all():
            outputs = np.full_like(outputs, np.nan)
        measured: dict[str, float] = {}
        for name in _METRICS:
            by_label = [_measured(name, outputs[:, k], targets[:, k]) for k in range(self.outputs)]
            measured[name] = float("nan") if np.isnan(by_label).all() else float(np.nanmean(by_label))
            measured |= {f"{name}/{label}": value for label, value in zip(self.names, by_label, strict=True)}
        measured["standardised_mse_sum"] = float(sum(1 - measured[f"r2/{label}"] for label in self.names))
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return the mean over outputs of what every row adds to their R2; a row without a label has the R2 itself."""
        by_label = []
        for predictions, values in zip(np.asarray(outputs, np.float64).T, targets.T, strict=True):
            valid = ~np.isnan(values)
            if valid.any() and np.ptp(values[valid]) > 0:
                errors = np.square(predictions[valid] - values[valid])
                squares = np.square(values[valid] - values[valid].mean())
                share, r2 = errors.mean() / squares.mean(), 1 - errors.mean() / squares.mean()
                of_rows = np.full(len(values), r2)
                of_rows[valid] += (share * squares - errors) / squares.mean() * len(values) / valid.sum()
                by_label.append(of_rows)
        return np.mean(by_label, axis=0) if by_label else None

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the weighted means `[M, K]` over the neighbours that have the number; NaN where none has."""
        return mean_vote(weights, targets)


def _measured(name: str, predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return a metric of one output over the rows that have its label; NaN if it is undefined there."""
    valid = ~np.isnan(targets)
    some = valid.any() and (name != "r2" or np.ptp(targets[valid]) > 0)
    if not some or not np.isfinite(predictions).all():
        return float("nan")
    return float(_METRICS[name](targets[valid], predictions[valid]))
