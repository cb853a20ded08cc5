"""The prediction of one of several grades with an order."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import cohen_kappa_score

from mmcl_jax.tasks.task import Task, as_shares, binary_log_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordinal(Task):
    """The prediction of a grade 0 to K - 1: K - 1 cumulative logits, each for the grade being above k.

    `P(y > k) = sigmoid(output k)`, where every threshold has weights of its own; the loss is the mean of the binary
    cross-entropies of the thresholds (as ContIG trains APTOS, where a further output is always 1). The predicted grade
    is the number of thresholds with probability above a half: the median of the grades.

    Attributes:
      classes: number of grades.
      one_class: whether all validation rows have the same grade, so that kappa is undefined there.

    Example:
      >>> task = Ordinal(label="retinopathy", classes=3)
      >>> task.grades(np.array([[-1.0, -2.0], [1.0, -2.0], [3.0, 2.0]])).tolist()
      [0, 1, 2]
    """

    name = "ordinal"
    shown = ("kappa", "mae")
    dtype = np.int32
    per_class = True
    classes: int
    one_class: bool = False

    @property
    def outputs(self) -> int:
        """One logit per threshold."""
        return self.classes - 1

    @property
    def primary(self) -> str:
        """Return "kappa" (quadratic weighted), or "log_loss" if all validation rows have the same grade."""
        return "log_loss" if self.one_class else "kappa"

    def above(self, targets: jax.Array) -> jax.Array:
        """Return whether grades `[...]` are above each threshold, `[..., K - 1]` float32."""
        thresholds = jnp.arange(self.outputs, dtype=targets.dtype).reshape(*[1] * targets.ndim, -1)
        return (targets[..., None] > thresholds).astype(jnp.float32)

    def grades(self, outputs: np.ndarray) -> np.ndarray:
        """Return the predicted grades `[N]` of cumulative logits `[N, K - 1]`."""
        return (outputs > 0).sum(axis=1)

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the binary cross-entropies, averaged over thresholds, and 1, since every row has one label."""
        losses = optax.sigmoid_binary_cross_entropy(outputs, jnp.broadcast_to(self.above(targets), outputs.shape))
        return losses.mean(axis=-1), jnp.float32(1)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the quadratic weighted kappa, or minus the log loss."""
        if self.primary == "log_loss":
            return -self.mean_loss(outputs, targets)
        grades = (outputs > 0).sum(axis=1).astype(jnp.float32)
        targets = targets.astype(jnp.float32)
        # 1 - E (g - t)^2 / E (g - t')^2, where t' is independent of g.
        by_chance = jnp.var(grades) + jnp.var(targets) + jnp.square(grades.mean() - targets.mean())
        return 1 - jnp.square(grades - targets).mean() / by_chance

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `kappa` (quadratic weighted), `mae` in grades, `top1`, and `balanced_accuracy`.

        Kappa is NaN if all rows have the same grade; `log_loss` is added where it chooses settings.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets).astype(np.int64)
        assert outputs.shape == (len(targets), self.outputs), (outputs.shape, targets.shape)
        names = ["kappa", "mae", "top1", "balanced_accuracy", *(["log_loss"] if self.primary == "log_loss" else [])]
        if not np.isfinite(outputs).all():
            return dict.fromkeys(names, float("nan"))
        grades = self.grades(outputs - 0.5 if shares else outputs)
        present = np.unique(targets)
        measured = {
            "kappa": float("nan"),
            "mae": float(np.abs(grades - targets).mean()),
            "top1": float((grades == targets).mean()),
            "balanced_accuracy": float(np.mean([(grades[targets == code] == code).mean() for code in present])),
        }
        if len(present) > 1:
            every = np.arange(self.classes)
            measured["kappa"] = float(cohen_kappa_score(targets, grades, labels=every, weights="quadratic"))
        if "log_loss" in names:
            above = targets[:, None] > np.arange(self.outputs)
            measured["log_loss"] = binary_log_loss(outputs, above, shares=shares)
        return measured

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the shares of the votes that are above each threshold."""
        votes = np.zeros((len(weights), self.classes))
        np.add.at(votes, (np.arange(len(weights))[:, None], targets), weights)
        return as_shares(votes)[:, ::-1].cumsum(axis=1)[:, -2::-1]
