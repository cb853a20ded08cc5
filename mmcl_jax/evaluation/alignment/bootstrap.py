"""Intervals of means and of AUROCs by the bootstrap over groups of rows, such as the patients of studies."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmcl_jax.tasks.auroc import auroc_components


class Estimate(NamedTuple):
    """A value with its 95 % interval, and the number of rows behind it; NaN where there is none."""

    value: float
    low: float
    high: float
    rows: int


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    rows: int,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of rows with the percentiles 2.5 and 97.5 over resamples of whole groups.

    Args:
      statistic: of the indices `[n]` of rows; NaN where it has no value. Such resamples are left out.
      rows: N.
      groups: `[N]`, of which whole groups are drawn with replacement; by default every row is a group.
      resamples: number of draws.
      seed: of the draws.

    Example:
      >>> hits = np.array([1.0, 1.0, 0.0, 1.0])
      >>> bootstrap(lambda rows: float(hits[rows].mean()), 4, resamples=200)
      Estimate(value=0.75, low=0.25, high=1.0, rows=4)
    """
    every = np.arange(rows)
    if rows == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value = statistic(every)
    names, codes = np.unique(every if groups is None else groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = random.integers(0, len(names), len(names))
        drawn.append(statistic(chosen if len(names) == rows else np.concatenate([members[one] for one in chosen])))
    finite = np.array(drawn)[np.isfinite(drawn)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) and len(names) > 1 else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high), rows)


def mean_interval(
    values: np.ndarray, *, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return the mean of values `[N]` with its interval; values that are NaN do not count.

    Example:
      >>> mean_interval(np.array([2.0, np.nan, 2.0]))
      Estimate(value=2.0, low=2.0, high=2.0, rows=2)
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    kept = values[known]
    return bootstrap(
        lambda rows: float(kept[rows].mean()),
        len(kept),
        groups=None if groups is None else np.asarray(groups)[known],
        resamples=resamples,
        seed=seed,
    )


def auroc(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the area under the ROC curve of scores `[N]` for targets `[N]` of 0 and 1; NaN without both.

    Example:
      >>> auroc(np.array([0.1, 0.7, 0.4, 0.9]), np.array([0, 0, 1, 1]))
      0.75
    """
    parts = auroc_components(scores, targets)
    return float("nan") if parts is None else float(parts.mean())


def auroc_interval(
    scores: np.ndarray, targets: np.ndarray, *, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return the AUROC of scores `[N]` for targets `[N]` with its interval; targets that are NaN do not count."""
    known = np.isfinite(targets)
    kept, of = np.asarray(scores)[known], np.asarray(targets)[known].astype(int)
    return bootstrap(
        lambda rows: auroc(kept[rows], of[rows]),
        len(kept),
        groups=None if groups is None else np.asarray(groups)[known],
        resamples=resamples,
        seed=seed,
    )
