"""The base of all tasks: the outputs of a head, their loss and their metrics, one of which chooses settings."""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.page.wording import LOWER_IS_BETTER

TINY = 1e-12  # the share of a class without a vote, in the logarithm


@dataclasses.dataclass(frozen=True)
class Units:
    """The shift and scale, of one output or per output, that standardise targets: `(target - shift) / scale`."""

    shift: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0

    def standardise(self, targets: np.ndarray) -> np.ndarray:
        """Return standardised targets; class codes unchanged, without a copy."""
        return targets if self._none else (targets - self.shift) / self.scale

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs for standardised targets in units of the label, float64; class codes' outputs unchanged.

        In float32 a small spread around a large mean, such as of years in seconds, would be lost.
        """
        return outputs if self._none else outputs.astype(np.float64) * self.scale + self.shift

    @property
    def _none(self) -> bool:
        return bool(np.all(self.scale == 1) and np.all(self.shift == 0))


def spread_of(targets: np.ndarray) -> float:
    """Return the standard deviation of targets `[n]`; 1 for a constant target, whose deviation may round above 0.

    Example:
      >>> spread_of(np.array([1.0, 3.0])), spread_of(np.full(3, 0.1)), bool(np.full(3, 0.1).std() > 0)
      (1.0, 1.0, True)
    """
    return float(targets.std()) if len(targets) and np.ptp(targets) > 0 else 1.0


@dataclasses.dataclass(frozen=True)
class Details:
    """Further metrics of a task, which have a printed table of their own, and the word for them in its title.

    Attributes:
      title: the word.
      metrics: their names.
      each: a metric whose values of single labels, such as `dice/disc`, stand beside them; "" for none.
    """

    title: str = ""
    metrics: tuple[str, ...] = ()
    each: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """The prediction of a label, or of several together.

    A task is a static argument of compiled programs, which trace its `losses` and `score`. Targets are `[N]`, or
    `[N, ...]` if a row has several.

    Attributes:
      name: of the kind of task, the value of `--task`.
      shown: the two metrics in the printed tables.
      details: the metrics in a further table.
      dtype: of targets on the device.
      per_class: whether targets are class codes, so that label budgets can be drawn per class.
      on_host: whether the primary metric is no program of a device, so that `score_on_host` computes it.
      label: name of the label; several names are joined by "+". Tasks that differ only in their label are equal, and
        share compiled programs.
    """

    name: ClassVar[str]
    shown: ClassVar[tuple[str, str]]
    details: ClassVar[Details] = Details()
    dtype: ClassVar[type] = np.float32
    per_class: ClassVar[bool] = False
    on_host: ClassVar[bool] = False
    label: str = dataclasses.field(compare=False)

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """Return the number of outputs of a head."""

    @property
    @abc.abstractmethod
    def primary(self) -> str:
        """Return the metric that, on validation, chooses settings."""

    @property
    def sign(self) -> int:
        """1 if a higher primary metric is better, else -1."""
        return -1 if self.primary in LOWER_IS_BETTER else 1

    def better(self, first: float, second: float) -> bool:
        """Return whether the primary metric `first` is better than `second`; any number is better than NaN."""
        if np.isnan(first) or np.isnan(second):
            return bool(np.isnan(second) and not np.isnan(first))
        return self.sign * first > self.sign * second

    def units(self, targets: np.ndarray) -> Units:
        """Return the units from the targets `[n, ...]` of the training rows; class codes are not standardised."""
        return Units()

    def natural(self, score: float, units: Units) -> float:
        """Return the primary metric in units of the label, for a `score` of standardised targets."""
        return self.sign * score

    @abc.abstractmethod
    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return for every example `[..., B]` the loss, summed over its labels, and the number of its labels.

        Args:
          outputs: `[..., B, outputs]`, for dense tasks `[..., B, H, W, outputs]`.
          targets: standardised; they broadcast along the leading axes.
        """

    def mean_loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """Return the mean loss `[...]` over the labels of all examples, with `weights` `[..., B]` of the examples."""
        losses, counts = self.losses(outputs, targets)
        if weights is None:
            weights = jnp.ones_like(losses)
        return (losses * weights).sum(axis=-1) / (counts * weights).sum(axis=-1)

    def score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the primary metric of `metrics`, on the device, with the sign that makes higher better.

        It is NaN if an output is not finite, which means that the head diverged.

        Args:
          outputs: `[N, outputs]`.
          targets: `[N]`, standardised.
        """
        return jnp.where(jnp.isfinite(outputs).all(), self._score(outputs, targets), jnp.nan)

    def score_on_host(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """Return the `score`, by the host, of a task that says so (`on_host`)."""
        return self.sign * self.metrics(outputs, targets)[self.primary]

    @abc.abstractmethod
    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the `score` of outputs that are all finite."""

    @abc.abstractmethod
    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return the metrics of a split; all are NaN if an output is not finite, which means that the head diverged.

        Args:
          outputs: `[N, outputs]`, in units of the label.
          targets: `[N]`, in units of the label.
          shares: whether `outputs` are probabilities, such as shares of votes, instead of logits.
        """

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return one value per row, `[N]`, whose mean is the primary metric and whose variance / N is the metric's.

        Of a metric that is no mean over rows, a value is the metric plus the row's influence on it (the delta method).
        None where the task gives none, or the metric is undefined.

        Args:
          outputs: `[N, outputs]`, finite, in units of the label.
          targets: `[N]`, in units of the label.
        """
        return None

    @abc.abstractmethod
    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the predictions `[M, outputs]` from neighbours: shares of votes, or weighted means.

        Args:
          weights: `[M, k]` of the neighbours.
          targets: `[M, k]` of the neighbours.
        """


def as_shares(weights: np.ndarray) -> np.ndarray:
    """Return votes `[M, C]` as shares; equal votes give bitwise equal shares, in whatever order they were added."""
    return weights / np.sort(weights, axis=1).sum(axis=1, keepdims=True)


def mean_vote(weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the weighted means `[M, K]` of targets `[M, k, K]`, where NaN is missing; NaN if no neighbour has one."""
    valid = ~np.isnan(targets)
    votes = np.where(valid, weights[..., None], 0)
    total = votes.sum(axis=1)
    return (votes * np.where(valid, targets, 0)).sum(axis=1) / np.where(total > 0, total, np.nan)


def binary_log_loss(outputs: np.ndarray, positive: np.ndarray, *, shares: bool) -> float:
    """Return the mean binary cross-entropy of logits, or of `shares`, for targets `positive` (bool, the same shape)."""
    if not np.isfinite(outputs).all():
        return float("nan")
    if shares:
        return float(-np.log(np.where(positive, outputs, 1 - outputs) + TINY).mean())
    return float(np.logaddexp(0, np.where(positive, -outputs, outputs)).mean())
