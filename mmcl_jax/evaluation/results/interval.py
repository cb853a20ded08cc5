"""The confidence interval of a mean over few repeats."""

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
