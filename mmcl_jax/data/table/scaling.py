"""What a number goes through before its z-score: nothing, the logarithm, or its rank among the training rows."""

from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri

Scaling = Literal["standard", "log", "quantile"]
SCALINGS: tuple[str, ...] = get_args(Scaling)
LANDMARKS = 1000
_FURTHEST = 1e-7  # from 0 and 1, as in scikit-learn: 5.2 standard deviations


def landmarks(values: np.ndarray) -> np.ndarray:
    """Return quantiles of training values `[N]` without NaN, from smallest to largest, as scikit-learn takes them."""
    at = np.linspace(0, 1, min(LANDMARKS, len(values)))
    return np.maximum.accumulate(np.quantile(values, at))  # rounding may turn two of them round


def rescaled(values: np.ndarray, scaling: str, quantiles: np.ndarray) -> np.ndarray:
    """Return the values `[N]`, NaN for missing, in the scale in which they are standardised.

    "log" is the natural logarithm, of values above 0. "quantile" is scikit-learn's `QuantileTransformer` with a normal
    output: a value's share among the training values (equal ones take the middle of theirs) as a normal quantile, at
    most 5.2 from 0, so that values beyond the training range are taken for its ends. Unlike there, values that are
    equal to many smallest or largest ones, such as zeros, take the middle of theirs too, and not the end.

    Args:
      values: of a column.
      scaling: one of `SCALINGS`.
      quantiles: of "quantile", what `landmarks` gave.
    """
    if scaling == "standard":
        return values
    if scaling == "log":
        return np.log(values)
    at = np.linspace(0, 1, len(quantiles))
    share = (np.interp(values, quantiles, at) - np.interp(-values, -quantiles[::-1], -at[::-1])) / 2
    return ndtri(np.clip(share, _FURTHEST, 1 - _FURTHEST))
