"""The measures of embeddings, against plain loops in float64."""

import itertools
import math

import numpy as np
import pytest

from mmcl_jax.evaluation.alignment import (
    agreement,
    alignment_rmse,
    auroc_interval,
    bootstrap,
    centroid_distance,
    centroids_of,
    channel_std,
    entropy,
    local_std,
    mean_interval,
    off_diagonal_covariance,
    pair_distance,
    pairwise_distance,
    pointing,
    position_ranks,
    regions_inside,
    smoothness,
    uniformity,
    unit_length,
)

RANDOM = np.random.default_rng(3)
X = unit_length(RANDOM.normal(size=(70, 5)))
LOCAL = unit_length(RANDOM.normal(size=(70, 6, 4)))
OTHER = unit_length(LOCAL + RANDOM.normal(size=LOCAL.shape))
MASK = RANDOM.random((70, 6)) < 0.6
MASK[0], MASK[1], MASK[2] = False, [True] + [False] * 5, True
BROKEN = np.where(MASK[:, :, None], LOCAL, np.nan)  # outside of the mask there may be anything


def std(values: list[np.ndarray]) -> float:
    """The mean over channels of the unbiased standard deviation of a list of vectors."""
    channels = []
    for channel in range(len(values[0])):
        of = [float(value[channel]) for value in values]
        mean = sum(of) / len(of)
        channels.append(math.sqrt(sum((one - mean) ** 2 for one in of) / (len(of) - 1)))
    return sum(channels) / len(channels)


def samples() -> list[list[np.ndarray]]:
    return [[LOCAL[i, k] for k in range(6) if MASK[i, k]] for i in range(len(LOCAL))]


def test_deviations_of_channels() -> None:
    assert channel_std(X) == pytest.approx(std(list(X)), abs=1e-12)
    found = local_std(BROKEN, MASK)
    assert found.total == pytest.approx(std([one for sample in samples() for one in sample]), abs=1e-9)
    assert found.within == pytest.approx(np.mean([std(sample) for sample in samples() if len(sample) > 1]), abs=1e-12)
    centroids = [sum(sample) / len(sample) for sample in samples() if sample]
    assert found.centroid == pytest.approx(std(centroids), abs=1e-12)
    assert centroids_of(BROKEN, MASK) == pytest.approx(np.array(centroids), abs=1e-12)
    assert found.centroid_over_within == found.centroid / found.within


def test_collapsed_samples_have_the_ratio_zero() -> None:
    same = np.repeat(LOCAL[2:3], 9, axis=0)
    assert local_std(same).centroid_over_within < 1e-8 < local_std(LOCAL).centroid_over_within


def test_uniformity_covariance_and_distances() -> None:
    pairs = list(itertools.combinations(X, 2))
    mean = sum(math.exp(-2 * float(((x - y) ** 2).sum())) for x, y in pairs) / len(pairs)
    assert uniformity(X) == pytest.approx(math.log(mean), abs=1e-12)
    assert pairwise_distance(X) == pytest.approx(np.mean([np.linalg.norm(x - y) for x, y in pairs]), abs=1e-7)
    covariance = np.cov(X.T)
    off = sum(covariance[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    assert off_diagonal_covariance(X) == pytest.approx(off, abs=1e-12)
    distances = [np.linalg.norm(one - sum(sample) / len(sample)) for sample in samples() for one in sample]
    assert centroid_distance(BROKEN, MASK) == pytest.approx(np.mean(distances), abs=1e-12)
    assert math.isnan(uniformity(X[:1]))
    assert math.isnan(channel_std(X[:1]))


def test_agreement_of_positions() -> None:
    rmse = alignment_rmse(BROKEN, OTHER, MASK)
    ranks = position_ranks(BROKEN, OTHER, MASK)
    for i, exist in enumerate(MASK):
        at = np.flatnonzero(exist)
        if len(at) == 0:
            assert math.isnan(rmse[i])
            continue
        squares = [float(((LOCAL[i, k] - OTHER[i, k]) ** 2).sum()) for k in at]
        assert rmse[i] == pytest.approx(math.sqrt(sum(squares) / len(squares)), abs=1e-12)
        for k in at:
            own = float(LOCAL[i, k] @ OTHER[i, k])
            assert ranks[i, k] == 1 + sum(float(LOCAL[i, k] @ OTHER[i, m]) > own for m in at if m != k)
    assert (ranks[~MASK] == 0).all()
    assert pair_distance(X, X[::-1])[0] == pytest.approx(float(np.linalg.norm(X[0] - X[-1])), abs=1e-12)


def test_entropy_is_highest_for_equal_weights() -> None:
    assert entropy(np.full(7, 1 / 7)) == pytest.approx(math.log(7), abs=1e-12)
    assert entropy(np.array([0.25, 0.75])) == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75), abs=1e-12)


def test_smoothness_of_many_pairs_is_that_of_every_kth_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = LOCAL.shape[1] * (LOCAL.shape[1] - 1) // 2
    every = smoothness(LOCAL[::2], (2, 3))
    monkeypatch.setattr(agreement, "_COSINES", pairs * (len(LOCAL) // 2))
    np.testing.assert_array_equal(smoothness(LOCAL, (2, 3)).means, every.means)


def test_smoothness_by_distance() -> None:
    found = smoothness(LOCAL, (2, 3))
    by_distance: dict[float, list[float]] = {}
    for sample in LOCAL:
        for k, m in itertools.combinations(range(6), 2):
            distance = math.hypot(k // 3 - m // 3, k % 3 - m % 3)
            by_distance.setdefault(round(distance, 9), []).append(float(sample[k] @ sample[m]))
    assert found.distances.round(9).tolist() == sorted(by_distance)
    for at, distance in enumerate(sorted(by_distance)):
        assert found.means[at] == pytest.approx(np.mean(by_distance[distance]), abs=1e-12)
        assert found.stds[at] == pytest.approx(np.std(by_distance[distance]), abs=1e-12)


def test_regions_of_boxes() -> None:
    assert regions_inside(np.array([[0, 0, 1, 1]]), (3, 4)).all()
    small = regions_inside(np.array([[0.4, 0.4, 0.01, 0.01]]), (7, 7)).reshape(7, 7)
    assert np.argwhere(small).tolist() == [[2, 2]]  # it has no centre, so it gets the region around it
    both = regions_inside(np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]), (2, 2))
    assert both.tolist() == [True, False, False, True]
    at_edge = regions_inside(np.array([[0.999, 0.999, 0.001, 0.001]]), (7, 7))
    assert at_edge.sum() == 1
    assert at_edge[-1]


@pytest.mark.parametrize("shift", [0.0, -0.4])
def test_pointing_scores(shift: float) -> None:
    maps = RANDOM.random((20, 9)) + shift
    inside = RANDOM.random((20, 9)) < 0.4
    inside[:, 4] = True
    inside[0] = True  # a box over the whole image
    found = pointing(maps, inside)
    for i, (values, mask) in enumerate(zip(maps, inside, strict=True)):
        assert found.hit[i] == mask[int(np.argmax(values))]
        mass = values - min(0.0, values.min())
        assert found.inside[i] == pytest.approx(mass[mask].sum() / mass.sum(), abs=1e-12)
        assert found.chance[i] == mask.sum() / 9
        scaled = (values - values.min()) / (values.max() - values.min())
        ious = [((scaled > t) & mask).sum() / ((scaled > t) | mask).sum() for t in (0.1, 0.2, 0.3, 0.4, 0.5)]
        assert found.iou[i] == pytest.approx(np.mean(ious), abs=1e-12)
        if mask.all():
            assert math.isnan(found.contrast[i])
        else:
            noise = math.sqrt(values[mask].var() + values[~mask].var())
            assert found.contrast[i] == pytest.approx((values[mask].mean() - values[~mask].mean()) / noise, abs=1e-10)


def test_a_flat_map_is_at_chance() -> None:
    found = pointing(np.full((1, 4), 0.25), np.array([[True, False, False, False]]))
    assert (found.hit[0], found.inside[0], found.contrast[0], found.iou[0]) == (0.25, 0.25, 0.0, 0.0)


def test_intervals_of_groups_are_wider() -> None:
    values = np.repeat(RANDOM.normal(size=12), 10)
    alone = mean_interval(values)
    grouped = mean_interval(values, groups=np.repeat(np.arange(12), 10))
    assert alone.value == grouped.value == pytest.approx(values.mean())
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != alone
    one_group = mean_interval(values, groups=np.zeros(120))
    assert math.isnan(one_group.low)


def test_intervals_cover_the_mean() -> None:
    covered = 0
    for trial in range(60):
        drawn = np.random.default_rng(trial).normal(size=60)
        low, high = mean_interval(drawn, resamples=200)[1:3]
        covered += low <= 0 <= high
    assert covered >= 50


def test_aurocs_have_intervals() -> None:
    targets = np.array([0, 1, np.nan, 0, 1] * 20)
    scores = np.nan_to_num(targets) + RANDOM.normal(size=100)
    found = auroc_interval(scores, targets, resamples=200)
    pairs = [(a, b) for a in scores[targets == 1] for b in scores[targets == 0]]
    assert found.value == pytest.approx(np.mean([a > b for a, b in pairs]), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.rows == 80
    assert math.isnan(auroc_interval(scores, np.ones(100), resamples=5).value)
    assert bootstrap(lambda rows: 0.0, 0).rows == 0
