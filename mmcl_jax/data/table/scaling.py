"""Scalings of a number before its z-score: none, its logarithm, or its rank among the training rows."""

from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri

Scaling = Literal["standard", "log", "quantile"]
SCALINGS: tuple[str, ...] = get_args(Scaling)
LANDMARKS = 1000
MARGIN = 1e-7  # smallest distance of a rank from 0 and 1, as in scikit-learn: 5.2 standard deviations


def landmarks(values: np.ndarray) -> np.ndarray:
    """Return the ascending quantiles of training values `[N]` without NaN, at the ranks that scikit-learn uses."""
    ranks = np.linspace(0, 1, min(LANDMARKS, len(values)))
    return np.maximum.accumulate(np.quantile(values, ranks))  # rounding may swap neighbours


def rescaled(values: np.ndarray, scaling: str, quantiles: np.ndarray) -> np.ndarray:
    """Return the values `[N]`, NaN for missing, in the scale in which they are standardised.

    "log" is the natural logarithm of values above 0. "quantile" is scikit-learn's `QuantileTransformer` with a normal
    output: the normal quantile of a value's rank among the training values (equal values have their middle rank),
    limited to 5.2 from 0, so that values outside of the training range map to its ends. Unlike scikit-learn, values
    that equal many smallest or largest ones, such as zeros, also have their middle rank, not that of the end.

    Args:
      values: values of a column.
      scaling: one of `SCALINGS`.
      quantiles: result of `landmarks`, for "quantile".
    """
    if scaling == "standard":
        return values
    if scaling == "log":
        return np.log(values)
    ranks = np.linspace(0, 1, len(quantiles))
    rank = (np.interp(values, quantiles, ranks) - np.interp(-values, -quantiles[::-1], -ranks[::-1])) / 2
    return ndtri(np.clip(rank, MARGIN, 1 - MARGIN))
