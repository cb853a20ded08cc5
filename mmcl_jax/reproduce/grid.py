"""The numbers of a table: every cell by seed and fold, and differences paired by these and by test row."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from mmcl_jax.evaluation.results.interval import fold_half_width, t_half_width
from mmcl_jax.evaluation.results.per_row import unpacked
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.spec import Contrast

LEAST_SEEDS = 3  # for a verdict: the spread of two seeds says next to nothing about other seeds
Repeat = Any  # a seed, or a seed and a fold


def repeat_of(score: Score) -> Repeat:
    """Return the seed of a score or, if it is of a fold, its seed and fold."""
    return score.seed if score.fold is None else (score.seed, score.fold)


@dataclasses.dataclass(frozen=True)
class GridCell:
    """One method in one column.

    Attributes:
      values: the metric by seed (and fold), in percent or in the unit of the label.
      rows: by seed, the contribution `[N]` of every test row to it (see `evaluation.results.per_row`); may be empty.
      lower: whether lower values are better.
      bounded: whether a value bounds its variance over test rows, see `Sample`.
    """

    values: Mapping[Repeat, float]
    rows: Mapping[Repeat, np.ndarray] = dataclasses.field(default_factory=dict)
    lower: bool = False
    bounded: bool = True

    @classmethod
    def of(cls, scores: Sequence[Score], measure: Measure) -> "GridCell":
        """Return the cell of these scores: for every seed and fold, the mean over its draws."""
        values, rows = {}, {}
        for repeat in sorted({repeat_of(score) for score in scores}):
            of_repeat = [score for score in scores if repeat_of(score) == repeat]
            values[repeat] = measure.factor * float(np.mean([score.metrics[measure.metric] for score in of_repeat]))
            by_draw = [unpacked(score.rows) for score in of_repeat] if measure.primary else [None]
            if all(of_rows is not None for of_rows in by_draw):
                rows[repeat] = measure.of_rows(np.mean([one for one in by_draw if one is not None], axis=0))
        return cls(values, rows, measure.lower, measure.bounded)


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

    def variance(self, cells: Sequence[tuple[GridCell, float]], repeats: Sequence[Repeat]) -> float:
        """Return the variance, in squared percent, of a weighted sum of cells averaged over seeds.

        If all cells have the contributions of the test rows, methods are paired by row: the variance is that of the
        mean over rows of the weighted contributions. If not, methods are treated as independent, which overestimates
        the variance where they agree on which rows are easy. Either way one further row is counted whose outcome is as
        far off as possible, so the variance is never 0. (Other metrics than top-1 and AUROC have no bound: this row is
        as far off as the row that is farthest off; without contributions of rows they have no variance here.)
        """
        paired = all(repeat in cell.rows for cell, _ in cells for repeat in repeats)
        if not all(cell.bounded for cell, _ in cells):
            return self._variance_of_unbounded(cells, repeats) if paired else 0.0
        off = 100 * sum(abs(weight) for _, weight in cells) / 2 * self.rows / self.smallest
        if paired:
            total = sum(weight * np.mean([cell.rows[seed] for seed in repeats], axis=0) for cell, weight in cells)
            return float((np.square(total - np.mean(total)).sum() + off**2) / len(total) ** 2)
        variance = 0.0
        for cell, weight in cells:
            share = np.mean([cell.values[seed] for seed in repeats]) / 100
            smooth = (share * self.smallest + 1) / (self.smallest + 2)
            variance += float((100 * weight) ** 2 * smooth * (1 - smooth) / self.smallest)
        return variance

    def _variance_of_unbounded(self, cells: Sequence[tuple[GridCell, float]], repeats: Sequence[Repeat]) -> float:
        """Return the variance of a sum, or of a relative improvement of errors, whose ratio is linearised."""

        def total(sign: int) -> Any:
            chosen = [(cell, abs(weight)) for cell, weight in cells if sign * weight > 0]
            return sum(weight * np.mean([cell.rows[repeat] for repeat in repeats], axis=0) for cell, weight in chosen)

        first, second = total(1), total(-1)
        whole = np.mean(second) if cells[0][0].lower else 0.0
        rows = first - second if whole == 0 else 100 * (np.mean(first) / whole * second - first) / whole
        apart = np.abs(rows - np.mean(rows))
        return float((np.square(apart).sum() + apart.max() ** 2) / len(rows) ** 2)


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mean over seeds with its uncertainty.

    Attributes:
      mean: over seeds, or over seeds and folds.
      sd: standard deviation over these repeats (ddof 1); NaN for a single one.
      low: lower end of the 95 % interval of the mean for other seeds and other test rows, or for other folds; NaN for a
        single repeat, and for fewer than three folds.
      high: its upper end.
      above: number of repeats with a value above 0.
      seeds: number of repeats.
      test: the standard error that comes from the test set; 0 with folds, whose spread contains it.
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
        """1 if the interval lies above 0, -1 if below 0, else 0; always 0 with fewer than three seeds or folds."""
        return 0 if self.seeds < LEAST_SEEDS else int(self.low > 0) - int(self.high < 0)


def spread(values: Sequence[float], variance: float = 0.0, *, folds: Sequence[int] = ()) -> Spread:
    """Return the spread of one value per seed, where the test set adds `variance` to the variance of their mean.

    The half-widths of the t-interval over seeds and of the normal interval over test rows are added in squares (MOVER,
    Zou and Donner, Statistics in Medicine 2008), so the interval is never narrower than either. Variation that depends
    on both seed and row is counted in both half-widths: the interval is rather too wide than too narrow.

    With `folds`, the fold of every value, the interval is that of Nadeau and Bengio over the folds, each of which is
    the mean over its seeds (`fold_half_width`).

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
    over_repeats = t_half_width(sd, count)
    if folds:
        by_fold = [array[np.asarray(folds) == fold].mean() for fold in sorted(set(folds))]
        over_repeats = fold_half_width(float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else 0.0, len(by_fold))
    half = math.hypot(over_repeats, float(norm.ppf(0.975)) * math.sqrt(variance))
    return Spread(mean, sd, mean - half, mean + half, above, count, math.sqrt(variance))


def contrast(cells: Mapping[tuple[str, str], GridCell], sum_of: Contrast, test: Sample | None) -> Spread | None:
    """Return the spread of a weighted sum of cells over the repeats that all of them have; None if a cell is missing.

    Of several cells whose lower values are better, it is the relative improvement in percent (see `Contrast`).

    Args:
      cells: by row and column.
      sum_of: the cells with their weights.
      test: the size of the test set; None with folds, whose spread contains what their test rows add.
    """
    parts = [(cells.get((row, column)), weight) for row, column, weight in sum_of.weights]
    present = [(part, weight) for part, weight in parts if part is not None and part.values]
    if len(present) < len(parts):
        return None
    repeats = sorted(set.intersection(*(set(part.values) for part, _ in present)))
    relative = any(part.lower for part, _ in present) and any(weight < 0 for _, weight in present)
    values = []
    for repeat in repeats:
        total = sum(weight * part.values[repeat] for part, weight in present)
        whole = -sum(weight * part.values[repeat] for part, weight in present if weight < 0)
        values.append((-100 * total / whole if relative and whole else total) + sum_of.margin)
    folds = [repeat[1] for repeat in repeats if isinstance(repeat, tuple)]
    return spread(values, test.variance(present, repeats) if repeats and test else 0.0, folds=folds)
