"""Logistic regression with an elastic net: its settings, its choice on validation, and its scores beside covariates."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.logistic import ITERATIONS, check_logistic, logistic, settings_of
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.results.confounding import confounding_grids
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.tasks import Class, Number

BINARY = Class(label="y", classes=2)


def drawn(classes: int = 2) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two of thirty features tell the classes, on scales that differ a lot."""
    random = np.random.default_rng(0)
    targets = {split: random.integers(0, classes, rows) for split, rows in (("train", 90), ("val", 60), ("test", 300))}
    features = {}
    for split, codes in targets.items():
        values = random.normal(size=(len(codes), 30))
        values[:, 0] += 1.5 * codes
        values[:, 1] -= 1.0 * codes
        features[split] = (values * np.logspace(-3, 3, 30)).astype(np.float32)
    return features, targets


@pytest.mark.core
def test_settings_fill_the_square_and_follow_from_the_seed() -> None:
    settings = settings_of(64, (0, 0))
    strengths, ratios = (np.array([one[name] for one in settings]) for name in ("C", "l1_ratio"))
    assert np.histogram(np.log10(strengths), bins=8, range=(-6, 3))[0].min() >= 6
    assert np.histogram(ratios, bins=8, range=(0, 1))[0].min() >= 6
    assert settings_of(64, (0, 0))[:5] == settings_of(5, (0, 0)) != settings_of(5, (0, 1))


def test_validation_chooses_and_test_is_that_of_scikit_learn() -> None:
    features, targets = drawn()
    rows = np.arange(0, 90, 2)
    metrics, chosen, outputs = logistic(features, targets, rows, task=BINARY, seed=(0, 1), trials=12)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(targets["test"], outputs[:, 1]))
    assert metrics["auroc"] > 0.8
    assert {"top1", "auroc", "balanced_accuracy", "brier", "val_auroc"} <= metrics.keys()
    assert 0 < chosen["passes"] <= ITERATIONS
    # By hand, standardised by the drawn rows.
    mean, sd = (getattr(features["train"][rows].astype(np.float64), name)(axis=0) for name in ("mean", "std"))
    train, val, test = ((features[split] - mean) / sd for split in ("train", "val", "test"))
    reached = []
    for one in settings_of(12, (0, 1)):
        model = LogisticRegression(solver="saga", max_iter=2000, tol=1e-3, C=one["C"], l1_ratio=one["l1_ratio"])
        model.fit(train[rows], targets["train"][rows])
        reached.append((roc_auc_score(targets["val"], model.predict_proba(val)[:, 1]), one["C"], model))
    assert metrics["val_auroc"] == pytest.approx(max(one[0] for one in reached), abs=0.02)
    same = next(model for _, strength, model in reached if strength == chosen["C"])
    np.testing.assert_allclose(outputs, same.predict_proba(test), atol=0.02)


def test_several_classes_and_balanced_weights() -> None:
    features, targets = drawn(3)
    three = Class(label="y", classes=3)
    metrics, _, outputs = logistic(features, targets, np.arange(90), task=three, seed=(0, 0), trials=4)
    assert outputs.shape == (300, 3)
    assert metrics["top1"] > 0.55
    features, targets = drawn()
    rare = np.r_[np.flatnonzero(targets["train"] == 0), np.flatnonzero(targets["train"] == 1)[:5]]
    plain, even = (
        logistic(features, targets, rare, task=BINARY, seed=(0, 0), trials=6, balanced=balanced)[0]
        for balanced in (False, True)
    )
    assert even["balanced_accuracy"] > plain["balanced_accuracy"]


def test_bad_input() -> None:
    features, targets = drawn()
    with pytest.raises(UserError, match="drawn training rows have one class of 'y'"):
        logistic(features, targets, np.flatnonzero(targets["train"] == 1), task=BINARY, seed=(0, 0))
    with pytest.raises(UserError, match="--protocol logistic: 'y' is a task of kind number"):
        check_logistic(Number(label="y"))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"protocols": ("knn",), "optimizer": "radam"}, "--optimizer radam: no head is trained by knn"),
        ({"optimizer": "sgd"}, "--optimizer: heads have no optimizer 'sgd'"),
        ({"protocols": ("knn",), "balanced": True}, "--balanced: knn draws no rows to train on"),
        ({"protocols": ("knn",), "trials": 3}, "--trials: knn has none"),
        ({"tuning": Tuning(normalisation="adapts")}, "--normalisation adapts: encoders that a head alone"),
        ({"protocols": ("knn",), "tuning": Tuning(batch_size=8)}, "--batch-size: knn has no such setting"),
    ]
    for options, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            EvaluationOptions(**options)
    assert EvaluationOptions(protocols=("logistic",), trials=3, balanced=True).trials == 3
    assert EvaluationOptions(tuning=Tuning(batch_size=8)).tuning.batch_size == 8  # of a probe


def test_scores_stand_beside_what_features_know_of_covariates() -> None:
    def score(method: str, protocol: str, label: str, **metrics: float) -> Score:
        return Score(
            method=method, seed=0, protocol=protocol, input="t1+falff", label=label, budget="all", draw=0,
            metrics=metrics, chosen={}, task="class" if protocol == "logistic" else "",
        )  # fmt: skip

    scores = [
        score("cr", "logistic", "diagnosis", top1=0.8, auroc=0.9),
        score("cr", "confounding", "age", r2=0.4, r2_low=0.3, r2_high=0.5, people=80.0),
        score("cr", "confounding", "sex", auroc=0.7, auroc_low=0.6, auroc_high=0.8, people=80.0),
        score("rr", "logistic", "diagnosis", top1=0.7, auroc=0.8),
        score("rr", "confounding", "sex", auroc=0.6, auroc_low=0.5, auroc_high=0.7, people=80.0),
    ]
    grid = confounding_grids(scores)[-1]
    assert grid.head == ["label", "measured by", "method", "score", "age", "sex"]
    assert [row[2:] for row in grid.rows] == [
        ["cr", "0.800", "0.400 [0.300, 0.500]", "0.700 [0.600, 0.800]"],
        ["rr", "0.700", "–", "0.600 [0.500, 0.700]"],
    ]
    assert "Logistic regression on t1 and falff" in grid.rows[0][1]
