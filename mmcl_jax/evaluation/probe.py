"""The linear probe: logistic regression on frozen features."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

# Inverse strengths of the L2 penalty, in scikit-learn's convention, strongest penalty first.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1e0, 1e1)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Features `[N, D]` and labels `[N]` of one split."""

    features: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> "Labelled":
        """Some of the rows."""
        return Labelled(self.features[rows], self.labels[rows])


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All arrays with the training rows' mean taken off and divided by their standard deviation (where it is not 0).

    The statistics need no labels, so they are taken over the whole training split also when few labels are used.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-8, std, 1)
    return [(array - mean) / scale for array in (train, *others)]


def linear_probe(
    train: Labelled, val: Labelled, test: Labelled, *, strengths: Sequence[float] = STRENGTHS
) -> dict[str, float]:
    """Fits at every strength of regularisation, keeps the one with the best validation top-1, and tests that one.

    Ties go to the stronger penalty.

    Returns:
      `top1` and `auroc` on test (AUROC of the positive class, or macro one-vs-rest), `val_top1`, and `strength`.
    """
    best: tuple[float, float, LogisticRegression] | None = None
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=5000).fit(train.features, train.labels)
        score = float(accuracy_score(val.labels, model.predict(val.features)))
        if best is None or score > best[0]:
            best = score, strength, model
    assert best is not None
    val_top1, strength, model = best
    return {
        "top1": float(accuracy_score(test.labels, model.predict(test.features))),
        "auroc": auroc(test.labels, model.predict_proba(test.features)),
        "val_top1": val_top1,
        "strength": strength,
    }


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve: of class 1 when there are two classes, else the mean over one-vs-rest problems.

    Args:
      labels: `[N]` integer codes; every class must occur.
      probabilities: `[N, classes]`.
    """
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))
