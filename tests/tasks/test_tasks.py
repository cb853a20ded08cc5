"""Tasks, their metrics, and the same metrics on the device."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)

from mmcl_jax.data.schema import Column
from mmcl_jax.tasks import Class, Number, Numbers, Task, task_of
from mmcl_jax.tasks.auroc import binary_auroc

pytestmark = pytest.mark.core

BINARY = Class(label="cad", classes=2)
MODEL = Class(label="model", classes=4)
PRICE = Number(label="price")


def test_the_kind_of_a_column_is_the_kind_of_its_task() -> None:
    assert task_of([Column(name="cad", kind="boolean", categories=("no", "yes"))]) == BINARY
    assert task_of([Column(name="model", kind="categorical", categories=tuple("abcd"))]) == MODEL
    assert task_of([Column(name="price", kind="continuous")]) == PRICE
    assert [(t.primary, t.outputs, t.sign) for t in (BINARY, MODEL, PRICE)] == [
        ("auroc", 2, 1),
        ("top1", 4, 1),
        ("mse", 1, -1),
    ]


def test_two_classes_by_hand() -> None:
    logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    metrics = BINARY.metrics(logits, np.array([0, 0, 1, 1]))
    assert metrics == pytest.approx(
        {
            "top1": 0.75, "balanced_accuracy": 0.75, "auroc": 0.75, "average_precision": (1 + 2 / 3) / 2,
            "log_loss": -np.log([0.9, 0.6, 0.35, 0.8]).mean(), "brier": (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4,
            # Confidences 0.9, 0.6, 0.65 and 0.8 lie in the bins that end at 14/15, 9/15, 10/15 and 12/15.
            "ece": (0.1 + 0.4 + 0.65 + 0.2) / 4,
        }
    )  # fmt: skip


def binned(shares: np.ndarray, targets: np.ndarray) -> float:
    """The expected calibration error, bin by bin."""
    confidence, hits, total = shares.max(axis=1), shares.argmax(axis=1) == targets, 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


def test_many_classes_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(4), [50, 20, 10, 5])
    logits = rng.normal(size=(85, 4)) + 1.5 * np.eye(4)[targets]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    metrics = MODEL.metrics(logits, targets)
    assert metrics == pytest.approx(
        {
            "top1": (logits.argmax(axis=1) == targets).mean(),
            "balanced_accuracy": balanced_accuracy_score(targets, logits.argmax(axis=1)),
            "auroc": roc_auc_score(targets, shares, multi_class="ovr"),
            "average_precision": average_precision_score(np.eye(4)[targets], shares, average="macro"),
            "log_loss": log_loss(targets, shares),
            "brier": brier_score_loss(targets, shares),
            "ece": binned(shares, targets),
        }
    )
    assert metrics["top1"] != pytest.approx(metrics["balanced_accuracy"], abs=1e-3)


def test_numbers_by_hand() -> None:
    metrics = PRICE.metrics(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 5.0]))
    tail = {"abs_error_p90": 1.0, "abs_error_p95": 1.0, "abs_error_max": 1.0}
    assert metrics == pytest.approx({"mse": 2 / 3, "mae": 2 / 3, "r2": 0.75, "pearson": 0.98198, **tail}, abs=1e-5)
    errors = PRICE.metrics(np.arange(41.0)[:, None], np.zeros(41))
    assert [errors[name] for name in tail] == [36.0, 38.0, 40.0]
    constant = PRICE.metrics(np.ones((3, 1)), np.array([1.0, 3.0, 5.0]))
    assert np.isnan(constant["pearson"])
    assert constant["mae"] == 2


@pytest.mark.parametrize("present", [(0, 1, 2), (1, 3), (2, 3)])
def test_the_classes_that_have_rows_are_measured(present: tuple[int, ...]) -> None:
    """Top-1 over all rows, the others over the classes that are there, as scikit-learn has them."""
    rng = np.random.default_rng(3)
    targets = rng.choice(present, 60)
    logits = rng.normal(size=(60, 4)) + np.eye(4)[targets]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    metrics = MODEL.metrics(logits, targets)
    hits = logits.argmax(axis=1) == targets
    assert metrics["top1"] == pytest.approx(hits.mean())
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean([hits[targets == code].mean() for code in present]))
    expected = np.mean([roc_auc_score(targets == code, shares[:, code]) for code in present])
    assert metrics["auroc"] == pytest.approx(expected)


@pytest.mark.parametrize("task", [BINARY, MODEL], ids=["two", "four"])
def test_rows_of_one_class_have_no_auroc(task: Task) -> None:
    metrics = task.metrics(np.eye(task.classes)[[0, 1, 1]], np.array([1, 1, 1]))
    assert metrics["top1"] == pytest.approx(2 / 3)
    assert np.isnan([metrics["auroc"], metrics["average_precision"]]).all()


@pytest.mark.parametrize("task", [BINARY, MODEL], ids=["two", "four"])
def test_rows_that_are_sure_are_still_ranked(task: Task) -> None:
    """The softmax of logits this far apart is 1 to the last bit, which would tie rows that are not tied."""
    rng = np.random.default_rng(4)
    targets = np.arange(80) % task.classes
    logits = 400 * (rng.normal(size=(80, task.classes)) + np.eye(task.classes)[targets])
    rest = [np.sort(np.delete(logits, code, axis=1), axis=1)[:, -1] for code in range(task.classes)]
    ranking = logits - np.stack(rest, axis=1)  # at this distance the largest of the others is all of them
    codes = [1] if task is BINARY else range(4)
    expected = np.mean([roc_auc_score(targets == code, ranking[:, code]) for code in codes])
    assert task.metrics(logits, targets)["auroc"] == pytest.approx(expected, abs=1e-12)


def test_where_validation_has_one_class_the_log_loss_chooses() -> None:
    task = dataclasses.replace(BINARY, one_class=True)
    assert (task.primary, task.sign) == ("log_loss", -1)
    logits = np.log([[0.25, 0.75], [0.5, 0.5]])
    assert task.metrics(logits, np.array([1, 1]))["log_loss"] == pytest.approx(-np.log([0.75, 0.5]).mean())
    here = float(task.score(jnp.asarray(logits, jnp.float32), jnp.array([1, 1])))
    assert here == pytest.approx(np.log([0.75, 0.5]).mean())


def test_what_is_better() -> None:
    assert MODEL.better(0.6, 0.5)
    assert not MODEL.better(0.5, 0.5)
    assert PRICE.better(0.5, 0.6)
    for task in (MODEL, PRICE):
        assert task.better(0.5, float("nan"))
        assert not task.better(float("nan"), 0.5)


@pytest.mark.parametrize("task", [BINARY, PRICE], ids=["classes", "numbers"])
def test_a_head_that_diverged_has_no_metrics(task: Task) -> None:
    outputs = np.full((4, task.outputs), np.nan)
    assert all(np.isnan(value) for value in task.metrics(outputs, np.array([0, 1, 0, 1])).values())


def test_auroc_on_the_device_counts_ties_half() -> None:
    rng = np.random.default_rng(1)
    scores, targets = rng.integers(0, 12, 400).astype(np.float32), rng.integers(0, 2, 400)
    expected = roc_auc_score(targets, scores)
    assert float(binary_auroc(jnp.asarray(scores), jnp.asarray(targets))) == pytest.approx(expected, abs=1e-6)


def test_primary_metrics_on_the_device_are_those_of_the_host() -> None:
    rng = np.random.default_rng(2)
    for task in (BINARY, MODEL, PRICE):
        outputs = rng.normal(size=(60, task.outputs)).astype(np.float32)
        targets = (np.arange(60) % max(task.outputs, 2)).astype(task.dtype)
        here = float(task.score(jnp.asarray(outputs), jnp.asarray(targets)))
        assert task.sign * here == pytest.approx(task.metrics(outputs, targets)[task.primary], abs=1e-5)


def test_losses_by_hand() -> None:
    logits = jnp.log(jnp.array([[0.25, 0.75], [0.5, 0.5]]))
    losses, _ = BINARY.losses(logits, jnp.array([1, 0]))
    np.testing.assert_allclose(losses, -np.log([0.75, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(PRICE.losses(jnp.array([[3.0]]), jnp.array([1.0]))[0], [4.0])


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1e12, 1e3), (0.0, 1e12), (1e-9, 1e-12)])
def test_units_hold_numbers_of_any_scale(shift: float, scale: float) -> None:
    targets = shift + scale * np.array([-1.5, 0.0, 0.5, 2.0])
    for task, given in ((PRICE, targets), (Numbers(label="a+b", names=("a", "b")), np.stack([targets] * 2, axis=1))):
        units = task.units(given)
        outputs = units.standardise(given).astype(np.float32).reshape(4, -1)
        restored = units.restore(outputs)
        np.testing.assert_allclose((restored - shift) / scale, (given.reshape(4, -1) - shift) / scale, atol=1e-3)
        assert task.units(np.full_like(given, 0.1)).standardise(np.full_like(given, 0.1)) == pytest.approx(0.0)
        assert np.all(np.asarray(task.units(np.full_like(given, 0.1)).scale) == 1)
