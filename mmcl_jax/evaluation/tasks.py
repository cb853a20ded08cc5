"""Downstream tasks: what a head predicts, and how predictions are measured."""

import dataclasses
from typing import Literal

import numpy as np
from scipy.special import softmax
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, roc_auc_score

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import check

Kind = Literal["classification", "regression"]
LOWER_IS_BETTER = ("mse", "mae")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """The prediction of a label column: `classes` is the number of classes, 1 for regression."""

    label: str
    kind: Kind
    classes: int

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

        AUROC for two classes, as for the cardiac tasks of Hager et al. (CVPR 2023); top-1 for more, as for DVM; the
        mean squared error for regression.
        """
        if self.kind == "regression":
            return "mse"
        return "auroc" if self.classes == 2 else "top1"

    @property
    def sign(self) -> int:
        """1 if a higher primary metric is better, else -1."""
        return -1 if self.primary in LOWER_IS_BETTER else 1

    def better(self, first: float, second: float) -> bool:
        """Whether the primary metric `first` is better than `second`; any number is better than NaN."""
        if np.isnan(first) or np.isnan(second):
            return bool(np.isnan(second) and not np.isnan(first))
        return self.sign * first > self.sign * second

    def metrics(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Metrics of a whole split.

        Args:
          outputs: `[N, outputs]`: logits, whose softmax are class probabilities; or predictions in units of the label.
          targets: `[N]`: class codes; or labels.

        Returns:
          For classes: `top1`, `balanced_accuracy` (mean recall of the classes), `auroc` and `average_precision` (of
          class 1 if there are two, else the mean over one-vs-rest problems), by class probability. For regression:
          `mse`, `mae` and `pearson`, which is NaN if all predictions or labels are the same. All are NaN if an output
          is not finite, as those of a head that diverged are.

        Raises:
          UserError: a class has no row, so that its recall, AUROC and precision are not defined.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets)
        assert outputs.shape == (len(targets), self.outputs), (outputs.shape, targets.shape)
        measure = _regression if self.kind == "regression" else self._classification
        return measure(outputs, targets)

    def _classification(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        counts = np.bincount(targets.astype(np.int64), minlength=self.classes)
        absent = int(counts.argmin())
        check(counts[absent] > 0, f"No row of class {absent} of {self.label!r} is there to be measured.")
        if not np.isfinite(logits).all():
            return dict.fromkeys(("top1", "balanced_accuracy", "auroc", "average_precision"), float("nan"))
        probabilities = softmax(logits, axis=1)
        hits = logits.argmax(axis=1) == targets
        recalls = [hits[targets == code].mean() for code in range(self.classes)]
        codes = [1] if self.classes == 2 else range(self.classes)
        return {
            "top1": float(hits.mean()),
            "balanced_accuracy": float(np.mean(recalls)),
            "auroc": float(np.mean([roc_auc_score(targets == code, probabilities[:, code]) for code in codes])),
            "average_precision": float(
                np.mean([average_precision_score(targets == code, probabilities[:, code]) for code in codes])
            ),
        }


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
