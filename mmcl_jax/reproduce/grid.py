"""The numbers of a table: every cell by seed, and differences paired by seed and by test row."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from mmcl_jax.evaluation.results.interval import t_half_width
from mmcl_jax.evaluation.results.per_row import unpacked
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.page.wording import LOWER_IS_BETTER
from mmcl_jax.reproduce.spec import Contrast

LEAST_SEEDS = 3  # for a verdict: the spread of two seeds says next to nothing about other seeds


@dataclasses.dataclass(frozen=True)
class GridCell:
    """One method in one column.

    Attributes:
      percent: the metric by seed.
      rows: by seed, the contribution `[N]` of every test row to it (see `evaluation.results.per_row`); may be empty.
    """

    percent: Mapping[int, float]
    rows: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, scores: Sequence[Score], metric: str) -> "GridCell":
        """Return the cell of these scores: for every seed, the mean over its draws."""
        percent, rows = {}, {}
        for seed in sorted({score.seed for score in scores}):
            of_seed = [score for score in scores if score.seed == seed]
            percent[seed] = value(of_seed, metric)
            by_draw = [unpacked(score.rows) for score in of_seed]
            # The parts of an error are no shares, which `Sample` supposes.
            if metric not in LOWER_IS_BETTER and all(values is not None for values in by_draw):
                rows[seed] = 100 * np.mean([values for values in by_draw if values is not None], axis=0)
        return cls(percent, rows)


@dataclasses.dataclass(frozen=True)
class Sample:
    """The size of the test set, from which the error of a metric follows.

    The variance of top-1 and of an AUROC is at most `a (1 - a) / smallest`, where a is the value of the metric.

    Attributes:
      rows: of the test set.
      smallest: the rows that limit the metric: all for top-1, those of the smaller class for an AUROC.
    """

    rows: int
    smallest: int

    def variance(self, cells: Sequence[tuple[GridCell, float]], seeds: Sequence[int]) -> float:
        """Return the variance, in squared percent, of a weighted sum of cells averaged over seeds.

        If all cells have the contributions of the test rows, methods are paired by row: the variance is that of the
        mean over rows of the weighted contributions. If not, methods are treated as independent, which overestimates
        the variance where they agree on which rows are easy. Either way one further row is counted whose outcome is as
        far off as possible, so the variance is never 0.
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
    """The mean over seeds with its uncertainty.

    Attributes:
      mean: over seeds.
      sd: standard deviation over seeds (ddof 1); NaN for a single seed.
      low: lower end of the 95 % interval of the mean for other seeds and other test rows; NaN for a single seed.
      high: its upper end.
      above: number of seeds with a value above 0.
      seeds: number of seeds.
      test: the standard error that comes from the test set.
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
        """1 if the interval lies above 0, -1 if it lies below 0, else 0; always 0 with fewer than three seeds."""
        return 0 if self.seeds < LEAST_SEEDS else int(self.low > 0) - int(self.high < 0)


def spread(values: Sequence[float], variance: float = 0.0) -> Spread:
    """Return the spread of one value per seed, where the test set adds `variance` to the variance of their mean.

    The half-widths of the t-interval over seeds and of the normal interval over test rows are added in squares (MOVER,
    Zou and Donner, Statistics in Medicine 2008), so the interval is never narrower than either. Variation that depends
    on both seed and row is counted in both half-widths: the interval is rather too wide than too narrow.

    Example:
      >>> three = spread([1.0, 2.0, 3.0])
      >>> three.mean, three.sd, round(three.low, 2), round(three.high, 2), three.outcome
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
    """Return the mean of a metric over draws, in percent."""
    return 100 * float(np.mean([score.metrics[metric] for score in scores]))


def contrast(cells: Mapping[tuple[str, str], GridCell], sum_of: Contrast, test: Sample) -> Spread | None:
    """Return the spread of a weighted sum of cells over the seeds that all of them have; None if a cell is missing."""
    parts = [(cells.get((row, column)), weight) for row, column, weight in sum_of.weights]
    present = [(part, weight) for part, weight in parts if part is not None and part.percent]
    if len(present) < len(parts):
        return None
    seeds = sorted(set.intersection(*(set(part.percent) for part, _ in present)))
    values = [sum(weight * part.percent[seed] for part, weight in present) for seed in seeds]
    return spread(values, test.variance(present, seeds) if seeds else 0.0)
