"""The numbers of a table: every cell by seed, and differences paired by seed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t

from mmcl_jax.evaluation.scores import Score
from mmcl_jax.reproduce.spec import Contrast

Cells = Mapping[tuple[str, str], Mapping[int, float]]  # (row key, column key): {seed: percent}


@dataclasses.dataclass(frozen=True)
class Spread:
    """Over seeds: mean, standard deviation (ddof 1), the 95 % t-interval of the mean, and seeds above 0.

    `sd`, `low` and `high` are NaN for a single seed: it says nothing about others.
    """

    mean: float
    sd: float
    low: float
    high: float
    above: int
    seeds: int

    @property
    def outcome(self) -> int:
        """1 if the interval lies above 0, -1 if below, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def spread(values: Sequence[float]) -> Spread:
    """Of one value per seed.

    Example:
      >>> one = spread([1.0, 2.0, 3.0])
      >>> one.mean, one.sd, round(one.low, 2), round(one.high, 2), one.outcome
      (2.0, 1.0, -0.48, 4.48, 0)
    """
    array = np.asarray(values, np.float64)
    above, count = int((array > 0).sum()), len(array)
    mean = float(array.mean()) if count else math.nan
    if count < 2:
        return Spread(mean, math.nan, math.nan, math.nan, above, count)
    sd = float(array.std(ddof=1))
    half = float(t.ppf(0.975, count - 1)) * sd / math.sqrt(count)
    return Spread(mean, sd, mean - half, mean + half, above, count)


def value(scores: Sequence[Score], metric: str) -> float:
    """The mean over draws, in percent."""
    return 100 * float(np.mean([score.metrics[metric] for score in scores]))


def contrast(cells: Cells, what: Contrast) -> Spread | None:
    """The weighted sum of cells at every seed that all of them have; None if a cell is not there at all."""
    parts = [(cells.get((row, column)), weight) for row, column, weight in what.weights]
    if any(not part for part, _ in parts):
        return None
    there = [(part, weight) for part, weight in parts if part]
    seeds = sorted(set.intersection(*(set(part) for part, _ in there)))
    return spread([sum(weight * part[seed] for part, weight in there) for seed in seeds])
