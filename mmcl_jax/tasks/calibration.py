"""The calibration of class probabilities."""

import numpy as np

BINS = 15


def brier(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the Brier score, the mean squared error of probabilities; 0 is best.

    For two classes it is the mean of `(p - y)^2` over rows, where p is the probability of class 1; for more it is the
    mean of the sum of `(p_c - y_c)^2` over classes c (Brier, 1950). These are scikit-learn's conventions.

    Args:
      probabilities: `[N, C]`.
      targets: `[N]` class codes.

    Example:
      >>> brier(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 1]))
      0.1
    """
    hits = np.eye(probabilities.shape[1])[targets]
    total = float(np.square(probabilities - hits).sum(axis=1).mean())
    return total / 2 if probabilities.shape[1] == 2 else total


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the expected calibration error (Guo et al., ICML 2017); 0 is best.

    The rows are divided by confidence, the largest probability, into 15 bins of equal width, `(k / 15, (k + 1) / 15]`;
    the error is the mean of `|accuracy - mean confidence|` of the bins, weighted by their rows. With few rows it is
    above 0 even for calibrated probabilities, since each bin's accuracy is noisy.

    Args:
      probabilities: `[N, C]`.
      targets: `[N]` class codes.

    Example:
      >>> round(calibration_error(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1])), 6)  # right in half of the rows
      0.3
    """
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == targets
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(index, weights=hits - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(targets))
