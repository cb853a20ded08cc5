"""The tail of the absolute errors of predicted numbers: what the mean error does not show."""

import numpy as np

_PERCENTILES = {"abs_error_p90": 90, "abs_error_p95": 95, "abs_error_max": 100}
TAIL = tuple(_PERCENTILES)


def tail_error(targets: np.ndarray, predictions: np.ndarray, *, name: str) -> float:
    """Return a percentile of the absolute errors (linear between rows), by its `name` in `TAIL`.

    Example:
      >>> tail_error(np.zeros(11), np.arange(11.0), name="abs_error_p90")
      9.0
    """
    return float(np.percentile(np.abs(targets - predictions), _PERCENTILES[name]))


def tail_errors(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the 90th and the 95th percentile and the maximum of the absolute errors by name."""
    return {name: tail_error(targets, predictions, name=name) for name in TAIL}
