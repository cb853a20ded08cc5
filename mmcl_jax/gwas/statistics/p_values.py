"""P-values as logarithms, which stay exact where a p-value is smaller than any float64, and what is made of them."""

import numpy as np
from scipy import special, stats

_SMALL = 1e-250  # below it, the logarithm of the incomplete beta function is summed up as a continued fraction
_TERMS = 2000


def neg_log10_p(t: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Return -log10 of the two-sided p-values of t statistics.

    The p-value is the regularised incomplete beta function at degrees / (degrees + t^2), with parameters degrees / 2
    and 1/2.

    Args:
      t: statistics, of any shape; NaN stays NaN, and an infinite statistic gives an infinite value.
      degrees: degrees of freedom, positive, of a shape that broadcasts with `t`.

    Example:
      >>> neg_log10_p(np.array([0.0, -2.0, 60.0, 400.0]), np.array([1000.0])).round(4).tolist()
      [0.0, 1.3394, 332.924, 1105.0098]
    """
    t, degrees = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(degrees, np.float64))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = np.square(t) / degrees
        p = special.betainc(degrees / 2, 0.5, 1 / (1 + ratio))
        value = -np.log10(p)
    far = (p < _SMALL) & np.isfinite(ratio)
    if far.any():
        value = np.array(value)
        value[far] = -_log_beta_tail(degrees[far] / 2, ratio[far]) / np.log(10)
    return np.where(value == 0, 0.0, value)  # no negative zero


def p_value(neg_log10: np.ndarray) -> np.ndarray:
    """Return p-values, which are 0 where they are smaller than any float64."""
    return np.power(10.0, -np.asarray(neg_log10, np.float64))


def bonferroni(neg_log10: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -log10 of p = min(1, K min p) over the K phenotypes `[K, V]` of every variant, `[V]`, and the phenotype.

    The phenotype, an index `[V]`, has the smallest p-value; it is -1, and the value NaN, where no phenotype was tested.
    """
    tested = np.isfinite(neg_log10).any(axis=0)
    filled = np.where(np.isnan(neg_log10), -np.inf, neg_log10)
    best = filled.argmax(axis=0)
    value = np.maximum(filled.max(axis=0) - np.log10(len(neg_log10)), 0.0)
    return np.where(tested, value, np.nan), np.where(tested, best, -1)


def inflation(neg_log10: np.ndarray) -> float:
    """Return the genomic inflation: the median chi-squared statistic (one degree of freedom) over its expectation.

    NaN values are left out; without any other the result is NaN.

    Example:
      >>> round(inflation(-np.log10(np.linspace(0.001, 0.999, 999))), 4)
      1.0
    """
    values = neg_log10[np.isfinite(neg_log10)]
    if not len(values):
        return float("nan")
    return float(stats.chi2.isf(p_value(np.median(values)), 1) / stats.chi2.ppf(0.5, 1))


def _log_beta_tail(a: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of the incomplete beta function I_x(a, 1/2) at x = 1 / (1 + ratio).

    Evaluated as a continued fraction by the method of Lentz, which converges quickly for x < (a + 1) / (a + 5/2).
    """
    b, x = 0.5, 1 / (1 + ratio)
    tiny = 1e-300
    c, d = np.ones_like(x), 1 - (a + b) * x / (a + 1)
    d = 1 / np.where(np.abs(d) < tiny, tiny, d)
    fraction = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / np.where(np.abs(d) < tiny, tiny, d)
            c = 1 + term / c
            c = np.where(np.abs(c) < tiny, tiny, c)
            change = c * d
            fraction = fraction * change
        if (np.abs(change - 1) < 1e-15).all():
            break
    log_front = -a * np.log1p(ratio) + b * (np.log(ratio) - np.log1p(ratio))
    return log_front - np.log(a) - special.betaln(a, b) + np.log(fraction)
