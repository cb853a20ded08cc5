"""The improvement over the same encoder from scratch."""

import math

import numpy as np
import pytest
from scipy.stats import t

from mmcl_jax.evaluation.results.improvement import improvement_grids, improvements
from mmcl_jax.evaluation.results.per_row import of_people, packed
from mmcl_jax.evaluation.results.scores import Score

pytestmark = pytest.mark.core


def score(method: str, value: float, *, metric: str = "mse", rows: str = "", **other) -> Score:
    plain = {"seed": 0, "draw": 0, "fold": None, "encoder": "same", **other}
    return Score(
        method=method, protocol="finetune", input="table", label="y", budget="all", chosen={}, rows=rows,
        metrics={metric: value, f"val_{metric}": value}, task="number", **plain,
    )  # fmt: skip


def both(ours: float, scratch: float, **other) -> list[Score]:
    return [score("mt", ours, **other), score("supervised table", scratch, **other)]


def test_an_error_is_compared_by_its_share_and_paired_by_fold() -> None:
    """Each fold is the mean over seeds; a large error in one fold is not weighed more."""
    ours, scratch = np.array([[1.0, 8.0, 3.0], [2.0, 9.0, 3.0]]), np.array([[2.0, 10.0, 3.0], [2.0, 10.0, 6.0]])
    scores = [
        one
        for seed in (0, 1)
        for fold in range(3)
        for one in both(ours[seed, fold], scratch[seed, fold], seed=seed, fold=fold)
    ]
    (found,) = improvements(scores)
    by_fold = (100 * (scratch - ours) / scratch).mean(axis=0)
    half = t.ppf(0.975, 2) * by_fold.std(ddof=1) * math.sqrt(1 / 3 + 1 / 1)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (by_fold.mean(), by_fold.mean() - half, by_fold.mean() + half)
    )
    assert (found.relative, found.pairs, found.better) == (True, 6, 4)
    assert math.isnan(improvements([one for one in scores if one.fold < 2])[0].low)  # two folds bound nothing


def test_other_metrics_are_compared_by_their_difference_over_seeds() -> None:
    scores = [
        one for seed, gain in enumerate((0.01, 0.02, 0.06)) for one in both(0.5 + gain, 0.5, metric="top1", seed=seed)
    ]
    (found,) = improvements(scores)
    half = t.ppf(0.975, 2) * np.std([0.01, 0.02, 0.06], ddof=1) / math.sqrt(3)
    assert (found.mean, found.low, found.relative) == (pytest.approx(0.03), pytest.approx(0.03 - half), False)


def test_test_rows_widen_the_interval_of_one_run() -> None:
    """The interval over rows covers the truth of drawn rows about as often as it says."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        scratch = rng.chisquare(1, 200)
        ours = 0.5 * scratch + 0.4 * rng.chisquare(1, 200)  # 10 % less in the mean
        scores = [
            score("mt", float(ours.mean()), rows=packed(ours.astype(np.float32))),
            score("supervised table", float(scratch.mean()), rows=packed(scratch.astype(np.float32))),
        ]
        (found,) = improvements(scores)
        hits += found.low <= 10 <= found.high
    assert 0.91 < hits / 300 < 0.98


def test_another_encoder_or_draw_is_no_pair() -> None:
    scores = [*both(1.0, 2.0), score("other", 1.0, encoder="wider"), score("mt", 9.0, draw=1)]
    (found,) = improvements(scores)
    assert (found.method, found.mean, found.pairs) == ("mt", 50.0, 1)
    (grid,) = improvement_grids(scores)
    assert "other has another encoder" in grid.note
    assert improvement_grids(scores[:1]) == []
    old = [*both(1.0, 2.0, encoder=""), score("mt", 1.0, encoder="known", seed=1)]
    assert improvements(old)[0].mean == 50.0


def test_the_interval_is_that_of_people_and_not_of_their_eyes() -> None:
    """Two equal eyes of every person tell no more than one eye."""
    rng = np.random.default_rng(5)
    scratch = rng.chisquare(1, 90)
    ours = 0.8 * scratch + 0.1 * rng.chisquare(1, 90)

    def found(eyes: int, *, people: bool):
        person = np.repeat(np.arange(90), eyes) if people else None
        rows = [
            packed(of_people(np.repeat(values, eyes), person), people=people) for values in (ours, scratch)
        ]  # fmt: skip
        scores = [score("mt", ours.mean(), rows=rows[0]), score("supervised table", scratch.mean(), rows=rows[1])]
        return improvements(scores)[0]

    one, two, rows = found(1, people=True), found(2, people=True), found(2, people=False)
    assert (two.low, two.high) == pytest.approx((one.low, one.high), rel=1e-5)
    assert "over people of the test split" in two.over
    assert rows.high - rows.low == pytest.approx((one.high - one.low) / math.sqrt(2), rel=1e-5)
    assert "over test rows" in rows.over


def test_scores_with_and_without_people_have_no_interval_over_the_test_split() -> None:
    scores = [
        score("mt", 1.0, rows=packed(np.ones(4), people=True)), score("supervised table", 2.0, rows=packed(np.ones(8)))
    ]  # fmt: skip
    assert math.isnan(improvements(scores)[0].low)
