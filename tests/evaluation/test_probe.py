"""The linear probe and its summaries."""

import numpy as np
import pytest

from mmcl_jax.evaluation.probe import Labelled, auroc, linear_probe, standardise
from mmcl_jax.evaluation.protocol import Score
from mmcl_jax.evaluation.summary import paired, summarise

pytestmark = pytest.mark.core


def blobs(rows: int, seed: int, *, noise: int = 0, classes: int = 3) -> Labelled:
    """Separable classes in the first columns, noise in the rest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    signal = np.eye(classes)[labels] * 3 + rng.normal(size=(rows, classes))
    return Labelled(np.concatenate([signal, rng.normal(size=(rows, noise))], axis=1), labels)


def test_separable_classes_are_learnt_and_shuffled_labels_are_not() -> None:
    train, val, test = (blobs(300, seed) for seed in range(3))
    result = linear_probe(train, val, test)
    assert result["top1"] > 0.9
    assert result["auroc"] > 0.97
    shuffled = Labelled(train.features, np.random.default_rng(0).permutation(train.labels))
    assert linear_probe(shuffled, val, test)["top1"] < 0.6


def test_the_strength_is_chosen_on_validation_and_ties_go_to_the_stronger() -> None:
    train, val, test = (blobs(30, 0, noise=400), blobs(300, 1, noise=400), blobs(300, 2, noise=400))
    scores = {s: linear_probe(train, val, test, strengths=[s])["val_top1"] for s in (1e-3, 1e-1, 1e1)}
    chosen = linear_probe(train, val, test, strengths=list(scores))
    assert chosen["val_top1"] == max(scores.values())
    assert chosen["strength"] == min(s for s, v in scores.items() if v == max(scores.values()))


def test_auroc_by_hand() -> None:
    positive = np.array([0.1, 0.4, 0.35, 0.8])
    assert auroc(np.array([0, 0, 1, 1]), np.stack([1 - positive, positive], axis=1)) == pytest.approx(0.75)
    perfect = np.eye(3)[[0, 1, 2, 0]]
    assert auroc(np.array([0, 1, 2, 0]), perfect) == 1


def test_standardising_uses_the_training_rows_alone() -> None:
    train, other = np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 6.0]])
    one, two = standardise(train, other)
    np.testing.assert_allclose(one, [[-1, 0], [1, 0]])
    np.testing.assert_allclose(two, [[3, 1]])


def score(method: str, seed: int, draw: int, top1: float) -> Score:
    return Score(method=method, seed=seed, budget="all", draw=draw, top1=top1, auroc=0.5, val_top1=0.5, strength=1.0)


def test_the_spread_is_over_seeds_of_means_over_draws() -> None:
    scores = [
        score("a", 0, 0, 0.5), score("a", 0, 1, 0.7), score("a", 1, 0, 0.8), score("a", 1, 1, 1.0),
        score("b", 0, 0, 0.5), score("b", 0, 1, 0.5), score("b", 1, 0, 1.0), score("b", 1, 1, 1.0),
    ]  # fmt: skip
    cell = summarise(scores)["a"]["all"]
    assert (cell.mean, cell.sd, cell.repeats) == pytest.approx((0.75, np.std([0.6, 0.9], ddof=1), 2))
    one_seed = summarise([s for s in scores if s.seed == 0])["a"]["all"]  # then it is over draws
    assert (one_seed.mean, one_seed.sd, one_seed.repeats) == pytest.approx((0.6, np.std([0.5, 0.7], ddof=1), 2))
    difference, wins = paired(scores, "a", "b", "all")
    assert (difference.mean, wins) == (pytest.approx(0.0), 1)
