"""The prediction of one of several classes without an order."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import average_precision_score, roc_auc_score

from mmcl_jax.tasks.auroc import auroc_components, binary_auroc
from mmcl_jax.tasks.calibration import brier, calibration_error
from mmcl_jax.tasks.task import TINY, Details, Task, as_shares


@dataclasses.dataclass(frozen=True, kw_only=True)
class Class(Task):
    """The prediction of a class code: one logit per class, softmax cross-entropy.

    Attributes:
      classes: number of classes.
      one_class: whether all validation rows have the same of two classes, so that the AUROC is undefined there.

    Example:
      >>> task = Class(label="model", classes=3)
      >>> task.primary, task.metrics(np.eye(3), np.array([0, 1, 1]))["top1"]
      ('top1', 0.6666666666666666)
    """

    name = "class"
    shown = ("top1", "auroc")
    details = Details("calibration", ("log_loss", "brier", "ece"))
    dtype = np.int32
    per_class = True
    classes: int
    one_class: bool = False

    @property
    def outputs(self) -> int:
        """One logit per class."""
        return self.classes

    @property
    def primary(self) -> str:
        """Return "auroc" for two classes ("log_loss" if validation has only one of them), else "top1".

        These are the choices of Hager et al. (CVPR 2023) for the cardiac tasks and for DVM.
        """
        if self.classes != 2:
            return "top1"
        return "log_loss" if self.one_class else "auroc"

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the cross-entropies, and 1, since every row has one label."""
        codes = jnp.broadcast_to(targets, outputs.shape[:-1]).astype(jnp.int32)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, codes), jnp.float32(1)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return top-1, the AUROC, or minus the log loss."""
        if self.primary == "log_loss":
            return -self.mean_loss(outputs, targets)
        if self.primary == "auroc":
            return binary_auroc(outputs[:, 1] - outputs[:, 0], targets)
        return (outputs.argmax(axis=1).astype(targets.dtype) == targets).mean(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return metrics of accuracy (over all rows), of ranking, and of calibration.

        `top1` is over all rows, `balanced_accuracy` the mean recall of the classes with rows. The ranking metrics are
        `auroc` and `average_precision`: of class 1 if there are two, else the mean over the one-vs-rest problems of the
        classes with rows; NaN if all rows are of one class. Rows are ranked by the log-odds of a class, since float64
        rounds the probabilities of all confident rows to the same 1. Calibration is measured by `log_loss` (the mean
        negative log-likelihood), `brier` and `ece` (see `tasks.calibration`).
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets).astype(np.int64)
        assert outputs.shape == (len(targets), self.outputs), (outputs.shape, targets.shape)
        ranking = outputs if shares else log_odds(outputs)
        if not np.isfinite(outputs).all():
            names = ("top1", "balanced_accuracy", "auroc", "average_precision", *self.details.metrics)
            return dict.fromkeys(names, float("nan"))
        present = np.unique(targets)
        hits = outputs.argmax(axis=1) == targets
        measured = {
            "top1": float(hits.mean()),
            "balanced_accuracy": float(np.mean([hits[targets == code].mean() for code in present])),
            "auroc": float("nan"),
            "average_precision": float("nan"),
        }
        if len(present) > 1:
            problems = [(targets == code, ranking[:, code]) for code in ([1] if self.classes == 2 else present)]
            measured["auroc"] = float(np.mean([roc_auc_score(*problem) for problem in problems]))
            measured["average_precision"] = float(np.mean([average_precision_score(*problem) for problem in problems]))
        logs = np.log(outputs + TINY) if shares else log_softmax(outputs, axis=1)
        probabilities = outputs if shares else np.exp(logs)
        measured["log_loss"] = float(-logs[np.arange(len(targets)), targets].mean())
        measured["brier"] = brier(probabilities, targets)
        measured["ece"] = calibration_error(probabilities, targets)
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return the hits, 0 or 1, whose mean is top-1; or, of two classes, the components of the AUROC."""
        if self.classes != 2:
            return (outputs.argmax(axis=1) == targets).astype(np.float64)
        outputs = np.asarray(outputs, np.float64)
        return auroc_components(outputs[:, 1] - outputs[:, 0], targets)

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the shares of the classes: exactly 0 without votes, exactly 1 with all votes."""
        votes = np.zeros((len(weights), self.classes))
        np.add.at(votes, (np.arange(len(weights))[:, None], targets), weights)
        return as_shares(votes)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Return `log(p / (1 - p))` of every class, `[N, C]`, for logits `[N, C]` with p = softmax(logits).

    Example:
      >>> log_odds(np.array([[50.0, 0.0], [60.0, 0.0]])).tolist()  # softmax rounds both probabilities to 1
      [[50.0, -50.0], [60.0, -60.0]]
    """
    if logits.shape[1] == 2:
        return logits - logits[:, ::-1]
    # The sum over the other classes must not be a difference of large numbers, so the largest logit is left out first.
    first = logits.argmax(axis=1)[:, None]
    rest = logits.copy()
    np.put_along_axis(rest, first, -np.inf, axis=1)
    log_rest = logsumexp(rest, axis=1, keepdims=True)
    shifted = rest - np.take_along_axis(logits, first, axis=1)
    others = np.maximum(np.exp(shifted).sum(axis=1, keepdims=True) - np.exp(shifted), 0)
    odds = shifted - np.log1p(others)
    np.put_along_axis(odds, first, np.take_along_axis(logits, first, axis=1) - log_rest, axis=1)
    return odds
