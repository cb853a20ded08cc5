"""The prediction of one of several grades with an order."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import cohen_kappa_score

from mmcl_jax.tasks.of_batches import mean_of_batches
from mmcl_jax.tasks.task import Details, Task, as_shares, binary_log_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordinal(Task):
    """The prediction of a grade 0 to K - 1: K - 1 cumulative logits, each for the grade being above k.

    `P(y > k) = sigmoid(output k)`, where every threshold has weights of its own; the loss is the mean of the binary
    cross-entropies of the thresholds. The predicted grade is the number of thresholds with probability above a half:
    the median of the grades. (ContIG's code decodes otherwise: see `OrdinalLogits`.)

    Attributes:
      cut: the logit above which a threshold counts as passed.
      passed: number of leading outputs whose threshold every grade passes.
      classes: number of grades.
      one_class: whether all validation rows have the same grade, so that kappa is undefined there.

    Example:
      >>> task = Ordinal(label="retinopathy", classes=3)
      >>> task.grades(np.array([[-1.0, -2.0], [1.0, -2.0], [3.0, 2.0]])).tolist()
      [0, 1, 2]
    """

    name = "ordinal"
    shown = ("kappa", "mae")
    details = Details("further metrics", ("top1", "balanced_accuracy", "kappa_of_batches"))
    dtype = np.int32
    per_class = True
    cut: ClassVar[float] = 0.0
    passed: ClassVar[int] = 0
    classes: int
    one_class: bool = False

    @property
    def outputs(self) -> int:
        """One logit per threshold."""
        return self.classes - 1 + self.passed

    @property
    def primary(self) -> str:
        """Return "kappa" (quadratic weighted), or "log_loss" if all validation rows have the same grade."""
        return "log_loss" if self.one_class else "kappa"

    def above(self, targets: jax.Array) -> jax.Array:
        """Return whether grades `[...]` are above the threshold of each output, `[..., outputs]` float32."""
        thresholds = jnp.arange(self.outputs, dtype=targets.dtype).reshape(*[1] * targets.ndim, -1) - self.passed
        return (targets[..., None] > thresholds).astype(jnp.float32)

    def grades(self, outputs: np.ndarray, *, shares: bool = False) -> np.ndarray:
        """Return the predicted grades `[N]` of cumulative logits `[N, outputs]`, or of probabilities if `shares`."""
        return (outputs > (0.5 if shares else self.cut)).sum(axis=1) - self.passed

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the binary cross-entropies, averaged over thresholds, and 1, since every row has one label."""
        losses = optax.sigmoid_binary_cross_entropy(outputs, jnp.broadcast_to(self.above(targets), outputs.shape))
        return losses.mean(axis=-1), jnp.float32(1)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the quadratic weighted kappa, or minus the log loss."""
        if self.primary == "log_loss":
            return -self.mean_loss(outputs, targets)
        grades = (outputs > self.cut).sum(axis=1).astype(jnp.float32) - self.passed
        targets = targets.astype(jnp.float32)
        # 1 - E (g - t)^2 / E (g - t')^2, where t' is independent of g.
        by_chance = jnp.var(grades) + jnp.var(targets) + jnp.square(grades.mean() - targets.mean())
        return 1 - jnp.square(grades - targets).mean() / by_chance

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `kappa` (quadratic weighted), `mae` in grades, `top1`, `balanced_accuracy`, and `kappa_of_batches`.

        `kappa_of_batches` is the mean of the kappa over batches of 16 rows, the number that ContIG (Taleb et al., CVPR
        2022) reports for APTOS. It is no estimate of `kappa`: chance agreement differs from batch to
        batch. Kappa is NaN if all rows have the same grade; `log_loss` is added where it chooses settings.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets).astype(np.int64)
        assert outputs.shape == (len(targets), self.outputs), (outputs.shape, targets.shape)
        names = ["kappa", "mae", "top1", "balanced_accuracy", "kappa_of_batches"]
        names += ["log_loss"] if self.primary == "log_loss" else []
        if not np.isfinite(outputs).all():
            return dict.fromkeys(names, float("nan"))
        grades = self.grades(outputs, shares=shares)
        present = np.unique(targets)
        measured = {
            "kappa": float("nan"),
            "mae": float(np.abs(grades - targets).mean()),
            "top1": float((grades == targets).mean()),
            "balanced_accuracy": float(np.mean([(grades[targets == code] == code).mean() for code in present])),
            "kappa_of_batches": mean_of_batches(quadratic_kappa, grades, targets),
        }
        if len(present) > 1:
            every = np.arange(-self.passed, self.classes)
            measured["kappa"] = float(cohen_kappa_score(targets, grades, labels=every, weights="quadratic"))
        if "log_loss" in names:
            above = targets[:, None] > np.arange(self.outputs) - self.passed
            measured["log_loss"] = binary_log_loss(outputs, above, shares=shares)
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return what every row adds to the kappa; None if all rows have the same grade."""
        if self.primary == "log_loss" or np.ptp(targets) == 0:
            return None
        grades, targets = self.grades(outputs).astype(np.float64), targets.astype(np.float64)
        apart, means = np.square(grades - targets), (grades.mean(), targets.mean())
        chance = np.square(grades) + np.square(targets) - 2 * (means[0] * targets + means[1] * grades)
        chance += 2 * means[0] * means[1]  # its mean is that of all pairs of a grade and a target
        ratio = apart.mean() / chance.mean()
        return 1 - ratio + (ratio * chance - apart) / chance.mean()

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the shares of the votes that are above each threshold."""
        votes = np.zeros((len(weights), self.classes))
        np.add.at(votes, (np.arange(len(weights))[:, None], targets), weights)
        return as_shares(votes)[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1 - self.passed :]


def quadratic_kappa(grades: np.ndarray, targets: np.ndarray) -> float:
    """Return the quadratic weighted kappa of grades `[N]` and targets `[N]`; NaN if all are one and the same grade.

    It is `1 - E (g - t)^2 / E (g - t')^2`, where t' is a target that is independent of g.

    Example:
      >>> quadratic_kappa(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
      0.8
    """
    by_chance = grades.var() + targets.var() + np.square(grades.mean() - targets.mean())
    return float(1 - np.square(grades - targets).mean() / by_chance) if by_chance > 0 else float("nan")
