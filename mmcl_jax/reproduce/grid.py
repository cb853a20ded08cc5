"""The numbers of a table: every cell by seed, and differences paired by seed and by test row."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from mmcl_jax.evaluation.results.interval import t_half_width
from mmcl_jax.evaluation.results.per_row import unpacked
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.tables.spec import Contrast

LEAST_SEEDS = 3  # for a verdict: the spread of two says next to nothing of that of others


@dataclasses.dataclass(frozen=True)
class GridCell:
    """One method in one column: `percent` by seed and, where they are known, what `rows` add to it, by seed `[N]`."""

    percent: Mapping[int, float]
    rows: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, scores: Sequence[Score], metric: str) -> "GridCell":
        """Return the mean over draws of every seed, in percent."""
        percent, rows = {}, {}
        for seed in sorted({score.seed for score in scores}):
            mine = [score for score in scores if score.seed == seed]
            percent[seed] = value(mine, metric)
            known = [unpacked(score.rows) for score in mine]
            if all(one is not None for one in known):
                rows[seed] = 100 * np.mean([one for one in known if one is not None], axis=0)
        return cls(percent, rows)


@dataclasses.dataclass(frozen=True)
class Sample:
    """How far a metric can be off because the test set is a sample: `rows` of it, of which `smallest` limit the metric.

    Top-1 is limited by all rows, an AUROC by those of its smaller class. The variance of either is at most
    `a (1 - a) / smallest`, for a value a of it.
    """

    rows: int
    smallest: int

    def variance(self, cells: Sequence[tuple[GridCell, float]], seeds: Sequence[int]) -> float:
        """Return the variance, in squared percent, of a weighted sum of cells averaged over seeds.

        Where what every row adds is known of all cells, it is that of the mean over rows of the sum, in which methods
        are paired by row. Else methods are taken for independent, which is a bound where they agree on which rows are
        easy. In either case as if one more row had come out as far off as can be: so it is never 0.
        """
        off = 100 * sum(abs(weight) for _, weight in cells) / 2 * self.rows / self.smallest
        if all(seed in cell.rows for cell, _ in cells for seed in seeds):
            total = sum(weight * np.mean([cell.rows[seed] for seed in seeds], axis=0) for cell, weight in cells)
            return float((np.square(total - np.mean(total)).sum() + off**2) / len(total) ** 2)
        variance = 0.0
        for cell, weight in cells:
            share = np.mean([cell.percent[seed] for seed in seeds]) / 100
            smooth = (share * self.smallest + 1) / (self.smallest + 2)
            variance += float((100 * weight) ** 2 * smooth * (1 - smooth) / self.smallest)
        return variance


@dataclasses.dataclass(frozen=True)
class Spread:
    """Over seeds: mean, standard deviation (ddof 1), the 95 % interval of the mean, and seeds above 0.

    The interval is for other seeds and other test rows: `test` is the standard error that the test set adds. `sd`,
    `low` and `high` are NaN for a single seed: it says nothing about others.
    """

    mean: float
    sd: float
    low: float
    high: float
    above: int
    seeds: int
    test: float = 0.0

    @property
    def outcome(self) -> int:
        """1 if the interval lies above 0, -1 if below, else 0, as with fewer than three seeds."""
        return 0 if self.seeds < LEAST_SEEDS else int(self.low > 0) - int(self.high < 0)


def spread(values: Sequence[float], variance: float = 0.0) -> Spread:
    """Return the spread of one value per seed, on a test set that adds this `variance` to their mean.

    The half-widths of the t-interval over seeds and of the normal interval over test rows are added in squares (MOVER,
    Zou and Donner, Statistics in Medicine 2008), so the interval is never narrower than either. What depends on both
    seed and row counts in both, which is on the safe side.

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
    over_seeds = t_half_width(sd, count)
    half = math.hypot(over_seeds, float(norm.ppf(0.975)) * math.sqrt(variance))
    return Spread(mean, sd, mean - half, mean + half, above, count, math.sqrt(variance))


def value(scores: Sequence[Score], metric: str) -> float:
    """Return the mean over draws, in percent."""
    return 100 * float(np.mean([score.metrics[metric] for score in scores]))


def contrast(cells: Mapping[tuple[str, str], GridCell], what: Contrast, test: Sample) -> Spread | None:
    """Return the weighted sum of cells at every seed that all of them have; None if a cell is not there at all."""
    parts = [(cells.get((row, column)), weight) for row, column, weight in what.weights]
    there = [(part, weight) for part, weight in parts if part is not None and part.percent]
    if len(there) < len(parts):
        return None
    seeds = sorted(set.intersection(*(set(part.percent) for part, _ in there)))
    values = [sum(weight * part.percent[seed] for part, weight in there) for seed in seeds]
    return spread(values, test.variance(there, seeds) if seeds else 0.0)
