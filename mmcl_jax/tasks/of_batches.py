"""The mean of a metric over small batches, as some papers report it, beside the metric of the whole split."""

from collections.abc import Callable

import numpy as np

BATCH = 16  # rows, as in ContIG (Taleb et al., CVPR 2022)
Metric = Callable[[np.ndarray, np.ndarray], float]


def mean_of_batches(metric: Metric, outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of a metric over batches of 16 rows; NaN if every batch has the metric NaN.

    Rows are in the order of one fixed permutation, so that the order of a store, which may be that of the classes, has
    no part in the number. Batches whose metric is NaN, such as the kappa of a batch with a single grade, are left out.

    Args:
      metric: of outputs `[n, ...]` and targets `[n, ...]` of a batch.
      outputs: `[N, ...]` of the split.
      targets: `[N, ...]`.

    Example:
      >>> mean_of_batches(lambda outputs, targets: len(outputs), np.zeros(20), np.zeros(20))
      10.0
    """
    order = np.random.default_rng(0).permutation(len(targets))
    batches = (order[start : start + BATCH] for start in range(0, len(order), BATCH))
    values = [metric(outputs[batch], targets[batch]) for batch in batches]
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))
