"""The improvement of fine-tuned runs over the same encoder trained from scratch, paired by seed and fold."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from mmcl_jax.evaluation.results.interval import fold_half_width, t_half_width
from mmcl_jax.evaluation.results.per_row import PEOPLE, unpacked
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import Grid, budgets_of, methods_of, only, title_of
from mmcl_jax.evaluation.sources.reads import from_scratch
from mmcl_jax.page.wording import LOWER_IS_BETTER, counted
from mmcl_jax.text import visible

_Pairs = dict[tuple[int, int | None], tuple[list[Score], list[Score]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Improvement:
    """The improvement of a method over its encoder from scratch, in the primary metric on test.

    Attributes:
      method: the experiment, fine-tuned.
      budget: of labels.
      metric: the primary metric.
      relative: whether values are the error that was removed, in percent of the error from scratch; else they are
        differences of the metric. Above 0 is better.
      mean: over the pairs.
      low: lower end of the 95 % interval; NaN where none follows.
      high: its upper end.
      better: number of pairs with a value above 0.
      pairs: number of pairs of a seed and a fold.
      over: what the interval generalises to, in words.
    """

    method: str
    budget: str
    metric: str
    relative: bool
    mean: float
    low: float
    high: float
    better: int
    pairs: int
    over: str


def improvements(scores: Sequence[Score]) -> list[Improvement]:
    """Return the improvement of every method and budget, of the fine-tuning scores of one input and label.

    A pair is a seed and a fold: the mean over the draws that both have. Each pair gives one value: with an error as
    primary metric `100 (scratch - ours) / scratch`, else `ours - scratch`. A method whose encoder is another one than
    that from scratch has no pair.

    With folds, values are averaged over seeds, and the interval is Nadeau and Bengio's over folds. Without, it is the
    t-interval over seeds (over the draws of a single seed), combined in squares with the normal interval over test rows
    (people, in a store with groups) where every score has the contributions of its rows.
    """
    found = []
    for method, budget in itertools.product(methods_of(scores), budgets_of(scores)):
        part = [score for score in scores if score.budget == budget]
        scratch = [score for score in part if score.method == from_scratch(score.input)]
        pairs = _pairs([score for score in part if score.method == method and score not in scratch], scratch)
        if pairs:
            found.append(_improvement(method, budget, pairs))
    return found


def improvement_grids(scores: Sequence[Score]) -> list[Grid]:
    """Return a table of improvements for every label and input that was fine-tuned, with the baseline beside."""
    several = len({score.label for score in only(scores, protocol="finetune")}) > 1
    return [
        _grid(found, part, part[0].label if several else "") for part in _parts(scores) if (found := improvements(part))
    ]


def improvement_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return the improvements as plain values, each with its label and input."""
    return [
        {"label": part[0].label, "input": part[0].input, **dataclasses.asdict(one)}
        for part in _parts(scores)
        for one in improvements(part)
    ]


def _parts(scores: Sequence[Score]) -> list[list[Score]]:
    """Return the fine-tuning scores of each label, task and input."""
    parts: dict[tuple[str, str, str], list[Score]] = {}
    for score in only(scores, protocol="finetune"):
        parts.setdefault((score.label, score.task, score.input), []).append(score)
    return list(parts.values())


def _grid(found: Sequence[Improvement], scores: Sequence[Score], label: str) -> Grid:
    first = found[0]
    unit = "percent of its error" if first.relative else "difference"
    rows = [
        [
            visible(one.method),
            visible(one.budget),
            _signed(one.mean, one.relative),
            "–" if math.isnan(one.low) else f"{_signed(one.low, one.relative)} to {_signed(one.high, one.relative)}",
            f"{one.better} of {one.pairs}",
        ]
        for one in found
    ]
    others = sorted(
        {score.method for score in scores} - {one.method for one in found} - {from_scratch(scores[0].input)}
    )
    notes = [f"Above 0 is better. The interval is {first.over}."]
    notes += [
        f"{visible(name)} has another encoder than the run that lends the baseline its own; evaluate it alone."
        for name in others
    ]
    return Grid(
        f"{title_of(scores, first.metric, label)}: improvement over the same encoder from scratch ({unit})",
        ["features", "labels", "improvement", "95 % interval", "better"],
        rows,
        labels=2,
        note=" ".join(notes),
    )


def _signed(value: float, relative: bool) -> str:
    return f"{value:+.2f} %" if relative else f"{value:+.4f}"


def _pairs(ours: Sequence[Score], scratch: Sequence[Score]) -> _Pairs:
    """Return by seed and fold the scores of both, of the draws that both have, of the same encoder."""
    by_key = {(score.seed, score.fold, score.draw): score for score in scratch}
    pairs: _Pairs = {}
    for score in ours:
        other = by_key.get((score.seed, score.fold, score.draw))
        # Scores of earlier versions do not name the encoder.
        if other is not None and (score.encoder == other.encoder or "" in (score.encoder, other.encoder)):
            first, second = pairs.setdefault((score.seed, score.fold), ([], []))
            first.append(score)
            second.append(other)
    return pairs


def _improvement(method: str, budget: str, pairs: _Pairs) -> Improvement:
    metric = _primary(next(iter(pairs.values()))[0][0])
    relative = metric in LOWER_IS_BETTER

    def improved(ours: float, scratch: float) -> float:
        if not relative:
            return ours - scratch
        return 100 * (scratch - ours) / scratch if scratch else math.nan

    def mean(scores: Sequence[Score]) -> float:
        return float(np.mean([score.metrics[metric] for score in scores]))

    values = {key: improved(mean(ours), mean(scratch)) for key, (ours, scratch) in pairs.items()}
    folds = sorted({fold for _, fold in pairs if fold is not None})
    seeds = {seed for seed, _ in pairs}
    if folds:
        by_fold = [float(np.mean([value for (_, of), value in values.items() if of == fold])) for fold in folds]
        half = fold_half_width(_sd(by_fold), len(folds))
        over = f"Nadeau and Bengio's over {counted(len(folds), 'fold')}, which allows for their shared training rows"
        over += f"; each is the mean over {counted(len(seeds), 'seed')}" if len(seeds) > 1 else ""
        center = float(np.mean(by_fold))
    else:
        repeated, unit = list(values.values()), "seed"
        if len(repeated) == 1:
            ((ours, scratch),) = pairs.values()
            repeated = [improved(a.metrics[metric], b.metrics[metric]) for a, b in zip(ours, scratch, strict=True)]
            unit = "draw"
        rows = _row_half_width(list(pairs.values()), relative)
        tested = ("not " if math.isnan(rows) else "") + "over "
        tested += "people of the test split" if _of_people(pairs) else "test rows"
        half = t_half_width(_sd(repeated), len(repeated))
        parts = [] if math.isnan(half) else [f"over {counted(len(repeated), unit)}"]
        parts += [tested] if parts or rows > 0 else []
        half = math.hypot(*(one for one in (half, rows) if not math.isnan(one))) if parts else math.nan
        over = " and ".join(parts) or "not defined for one pair"
        over += "; other pretrainings may differ more" if len(seeds) == 1 and parts else ""
        center = float(np.mean(list(values.values())))
    return Improvement(
        method=method,
        budget=budget,
        metric=metric,
        relative=relative,
        mean=center,
        low=center - half,
        high=center + half,
        better=sum(value > 0 for value in values.values()),
        pairs=len(values),
        over=over,
    )


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _primary(score: Score) -> str:
    """Return the metric that chose the settings of a score."""
    return next(name.removeprefix("val_") for name in score.metrics if name.startswith("val_"))


def _of_people(pairs: _Pairs) -> bool:
    """Return whether contributions are those of people, who may have several test rows."""
    return any(score.rows.startswith(PEOPLE) for both in pairs.values() for part in both for score in part)


def _row_half_width(pairs: Sequence[tuple[list[Score], list[Score]]], relative: bool) -> float:
    """Return half the width of the 95 % interval over test rows; NaN unless every score has its rows' contributions.

    In a store with groups, contributions are those of people, who are the rows here. They are averaged over seeds and
    draws. A relative improvement is linear in them near its value (the delta method). For a difference of shares, one
    further row is counted whose outcome is as far off as possible, so that methods that agree on every row have an
    interval, too.
    """
    sides = []
    for scores in zip(*pairs, strict=True):
        by_score = [unpacked(score.rows) for part in scores for score in part]
        some = [values for values in by_score if values is not None]
        if len(some) < len(by_score) or len({len(values) for values in some}) > 1:
            return math.nan
        sides.append(np.mean(some, axis=0))
    ours, scratch = sides
    if len(ours) != len(scratch):  # one of them was scored by an early version, which had no people
        return math.nan
    total, count = float(scratch.mean()), len(ours)
    if not relative:
        deviations, further = ours - scratch, 1.0
    elif total > 0 and count > 1:
        deviations, further = 100 * (ours - ours.mean() / total * scratch) / total, 0.0
    else:
        return math.nan
    variance = (np.square(deviations - deviations.mean()).sum() + further) / count**2
    return float(norm.ppf(0.975)) * math.sqrt(variance)
