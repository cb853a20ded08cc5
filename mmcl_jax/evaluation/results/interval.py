"""The confidence intervals of means over few repeats, and over folds."""

import math

from scipy.stats import t


def t_half_width(sd: float, repeats: int) -> float:
    """Return half the width of the 95 % t-interval of a mean of `repeats` values; NaN for one.

    Args:
      sd: standard deviation of the values (ddof 1).
      repeats: number of values.

    Example:
      >>> round(t_half_width(1.0, 3), 3)
      2.484
    """
    return float(t.ppf(0.975, repeats - 1)) * sd / math.sqrt(repeats) if repeats > 1 else math.nan


def fold_half_width(sd: float, folds: int) -> float:
    """Return half the width of the 95 % interval of a mean over folds; NaN for fewer than three.

    Folds share training rows, so the variance of their mean is more than `sd^2 / K`. It is taken to be
    `(1 / K + test rows / training rows) sd^2` (Nadeau and Bengio, Machine Learning 2003), where one fold of K is for
    test, one for validation, and K - 2 for training.

    Args:
      sd: standard deviation of the values of the folds (ddof 1).
      folds: number of folds.

    Example:
      >>> round(fold_half_width(1.0, 5), 3), round(t_half_width(1.0, 5), 3)
      (2.028, 1.242)
    """
    if folds < 3:
        return math.nan
    return float(t.ppf(0.975, folds - 1)) * sd * math.sqrt(1 / folds + 1 / (folds - 2))
