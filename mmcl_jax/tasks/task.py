"""Downstream tasks: what a head predicts, and how predictions are measured."""

import dataclasses
from typing import Literal

import numpy as np
from scipy.special import log_softmax, logsumexp
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, roc_auc_score

from mmcl_jax.data.schema import Column

Kind = Literal["classification", "regression"]
LOWER_IS_BETTER = ("mse", "mae", "log_loss")
_TINY = 1e-12  # the share of a class without a vote, in the logarithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """The prediction of a label column.

    Attributes:
      label: name of the column.
      kind: classification or regression.
      classes: number of classes; 1 for regression.
      one_class: whether all validation rows have the same one of two classes, so that no AUROC chooses among settings.
    """

    label: str
    kind: Kind
    classes: int
    one_class: bool = False

    @classmethod
    def of(cls, column: Column) -> "Task":
        """The task of predicting a column: its class if it has categories, else its number."""
        if column.coded:
            return cls(label=column.name, kind="classification", classes=len(column.categories))
        return cls(label=column.name, kind="regression", classes=1)

    @property
    def outputs(self) -> int:
        """Outputs of a head: one logit per class, or the number."""
        return self.classes

    @property
    def primary(self) -> str:
        """The metric that settings are chosen by on validation.

        AUROC for two classes, as for the cardiac tasks of Hager et al. (CVPR 2023), or the log loss where validation
        has only one of them; top-1 for more classes, as for DVM; the mean squared error for regression.
        """
        if self.kind == "regression":
            return "mse"
        if self.classes != 2:
            return "top1"
        return "log_loss" if self.one_class else "auroc"

    @property
    def sign(self) -> int:
        """1 if a higher primary metric is better, else -1."""
        return -1 if self.primary in LOWER_IS_BETTER else 1

    def better(self, first: float, second: float) -> bool:
        """Whether the primary metric `first` is better than `second`; any number is better than NaN."""
        if np.isnan(first) or np.isnan(second):
            return bool(np.isnan(second) and not np.isnan(first))
        return self.sign * first > self.sign * second

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return the metrics of a whole split.

        Args:
          outputs: `[N, outputs]`: logits, whose softmax are class probabilities; or predictions in units of the label.
          targets: `[N]`: class codes; or labels.
          shares: whether `outputs` are class probabilities themselves, such as shares of votes.

        Returns:
          For classes: `top1` over all rows, `balanced_accuracy` (mean recall of the classes with rows), `auroc` and
          `average_precision` (of class 1 if there are two, else the mean over the one-vs-rest problems of the classes
          that have rows), which are NaN if all rows are of one class, and `log_loss` where settings are chosen by it.
          For regression: `mse`, `mae` and `pearson`, which is NaN if all predictions or labels are the same. All are
          NaN if an output is not finite, as those of a head that diverged are.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets)
        assert outputs.shape == (len(targets), self.outputs), (outputs.shape, targets.shape)
        if self.kind == "regression":
            return _regression(outputs, targets)
        # Rows are ranked by the log-odds of a class: its probability is rounded to 1 for every row that is sure of it.
        return self._classification(outputs if shares else log_odds(outputs), outputs, targets.astype(np.int64), shares)

    def _classification(
        self, ranking: np.ndarray, outputs: np.ndarray, targets: np.ndarray, shares: bool
    ) -> dict[str, float]:
        names = ["top1", "balanced_accuracy", "auroc", "average_precision"]
        names += ["log_loss"] if self.primary == "log_loss" else []
        if not np.isfinite(outputs).all():
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
            measured["auroc"] = float(np.mean([roc_auc_score(*one) for one in problems]))
            measured["average_precision"] = float(np.mean([average_precision_score(*one) for one in problems]))
        if "log_loss" in names:
            logs = np.log(outputs + _TINY) if shares else log_softmax(outputs, axis=1)
            measured["log_loss"] = float(-logs[np.arange(len(targets)), targets].mean())
        return measured


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Return `log(p / (1 - p))` of every class, `[N, C]`, for logits `[N, C]` with p = softmax(logits).

    Example:
      >>> log_odds(np.array([[50.0, 0.0], [60.0, 0.0]])).tolist()  # softmax rounds both probabilities to 1
      [[50.0, -50.0], [60.0, -60.0]]
    """
    if logits.shape[1] == 2:
        return logits - logits[:, ::-1]
    # In the sum of the other classes, the largest logit must not be subtracted from itself.
    first = logits.argmax(axis=1)[:, None]
    rest = logits.copy()
    np.put_along_axis(rest, first, -np.inf, axis=1)
    log_rest = logsumexp(rest, axis=1, keepdims=True)
    shifted = rest - np.take_along_axis(logits, first, axis=1)
    others = np.maximum(np.exp(shifted).sum(axis=1, keepdims=True) - np.exp(shifted), 0)
    odds = shifted - np.log1p(others)
    np.put_along_axis(odds, first, np.take_along_axis(logits, first, axis=1) - log_rest, axis=1)
    return odds


def _regression(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    predictions = outputs[:, 0]
    if not np.isfinite(predictions).all():
        return dict.fromkeys(("mse", "mae", "pearson"), float("nan"))
    errors = predictions - targets
    varies = len(targets) > 1 and np.ptp(predictions) > 0 and np.ptp(targets) > 0
    return {
        "mse": float(np.mean(errors**2)),
        "mae": float(np.mean(np.abs(errors))),
        "pearson": float(pearsonr(predictions, targets).statistic) if varies else float("nan"),
    }
