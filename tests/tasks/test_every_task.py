"""What holds of every task: its metrics against scikit-learn, on the device as on the host, and what is missing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import UserError
from mmcl_jax.tasks import (
    TASKS,
    Class,
    Dice,
    Masks,
    MultiLabel,
    Number,
    Numbers,
    Ordinal,
    OrdinalLogits,
    Segmentation,
    Task,
    task_of,
)

pytestmark = pytest.mark.core

EVERY: dict[str, Task] = {
    "two classes": Class(label="cad", classes=2),
    "classes": Class(label="model", classes=4),
    "one class of two": Class(label="cad", classes=2, one_class=True),
    "ordinal": Ordinal(label="grade", classes=5),
    "grades of logits": OrdinalLogits(label="grade", classes=5),
    "one grade": Ordinal(label="grade", classes=5, one_class=True),
    "number": Number(label="age"),
    "numbers": Numbers(label="a+b+c", names=("a", "b", "c")),
    "multi_label": MultiLabel(label="x+y+z", names=("x", "y", "z")),
    "one class of each": MultiLabel(label="x+y", names=("x", "y"), one_class=True),
    "mask": Segmentation(label="lesion", classes=2),
    "masks": Segmentation(label="organs", classes=3),
    "overlapping masks": Masks(label="disc+atrophy", names=("disc", "atrophy")),
    "masks by the Dice loss": Dice(label="disc+atrophy", names=("disc", "atrophy")),
}

SCORE = jax.jit(lambda task, outputs, targets: task.score(outputs, targets), static_argnums=0)
LOSS = jax.jit(lambda task, o, t: jax.value_and_grad(task.mean_loss)(o, t), static_argnums=0)


def targets_of(task: Task, rows: int, *, seed: int = 0, holes: float = 0.0) -> np.ndarray:
    """Targets of a task; a share of `holes` of those that may be missing is missing."""
    rng = np.random.default_rng(seed)
    if isinstance(task, Class | Ordinal):
        return np.arange(rows) % task.classes
    if isinstance(task, Number):
        return rng.normal(50, 9, rows)
    shape = (rows, 6, 5) if isinstance(task, Segmentation) else (rows, task.outputs)
    if isinstance(task, Masks):
        shape = (rows, 6, 5, task.outputs)
        return np.where(rng.random(shape) < holes, -1, rng.integers(0, 2, shape))
    if isinstance(task, Segmentation):
        return np.where(rng.random(shape) < holes, -1, rng.integers(0, task.classes, shape))
    values = rng.normal(50, 9, shape) if isinstance(task, Numbers) else rng.integers(0, 2, shape).astype(float)
    return np.where(rng.random(shape) < holes, np.nan, values)


def outputs_of(task: Task, targets: np.ndarray, *, seed: int = 1) -> np.ndarray:
    """Standardised outputs or logits that know something of the targets."""
    rng = np.random.default_rng(seed)
    if isinstance(task, Segmentation):
        noise = rng.normal(size=(*targets.shape, task.outputs))
        return (noise + np.eye(task.outputs)[np.maximum(targets, 0)]).astype(np.float32)
    if isinstance(task, Masks):
        return (rng.normal(size=targets.shape) + np.maximum(targets, 0)).astype(np.float32)
    known = task.units(targets).standardise(np.nan_to_num(targets, nan=0.0))
    hint = known.reshape(len(targets), -1) if task.dtype is np.float32 else np.eye(task.outputs + 1)[known.astype(int)]
    return (rng.normal(size=(len(targets), task.outputs)) + hint[:, : task.outputs]).astype(np.float32)


@pytest.mark.parametrize("holes", [0.0, 0.4])
@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_what_chooses_settings_is_the_metric_that_is_reported(task: Task, holes: float) -> None:
    """The score on the device, of standardised targets, is the primary metric on the host, in the label's units."""
    targets = targets_of(task, 60, holes=holes)
    outputs, units = outputs_of(task, targets), task.units(targets)
    standard = jnp.asarray(units.standardise(targets).astype(task.dtype))
    here = task.natural(float(SCORE(task, jnp.asarray(outputs), standard)), units)
    assert here == pytest.approx(task.metrics(units.restore(outputs), targets)[task.primary], abs=1e-4, rel=1e-4)
    broken = outputs.copy()
    broken.reshape(-1)[7] = np.nan
    assert np.isnan(SCORE(task, jnp.asarray(broken), standard))
    assert np.isnan(task.metrics(broken, targets)[task.primary])
    assert set(task.shown) <= set(task.metrics(outputs, targets))


@pytest.mark.parametrize(
    "name",
    ["numbers", "multi_label", "one class of each", "mask", "masks", "overlapping masks", "masks by the Dice loss"],
)
def test_labels_that_are_missing_change_neither_loss_nor_gradient(name: str) -> None:
    task = EVERY[name]
    targets = targets_of(task, 40, holes=0.5)
    outputs = jnp.asarray(outputs_of(task, targets))
    standard = task.units(targets).standardise(targets).astype(task.dtype)
    missing = (standard < 0) if isinstance(task, Segmentation | Masks) else np.isnan(standard)
    at = missing[..., None] & np.ones(task.outputs, bool) if isinstance(task, Segmentation) else missing
    loss, slope = LOSS(task, outputs, jnp.asarray(standard))
    moved, _ = LOSS(task, jnp.where(at, 1e4, outputs), jnp.asarray(standard))
    assert float(moved) == float(loss)
    assert not np.asarray(slope)[at].any()
    assert np.isfinite(slope).all()
    assert np.asarray(slope)[~at].any()
    losses, counts = task.losses(outputs, jnp.asarray(standard))
    assert float(counts.sum()) == (~missing).sum()
    if isinstance(task, Masks):  # whose loss is no mean over pixels alone
        return
    assert float(loss) == pytest.approx(float(losses.sum() / counts.sum()), rel=1e-6)


def test_the_order_of_grades_counts() -> None:
    """A grade that is off by three costs more than one that is off by one, in the loss and in the metric."""
    task, rng = EVERY["ordinal"], np.random.default_rng(0)
    targets = np.arange(50) % 5
    grades = np.clip(targets + rng.integers(-1, 2, 50), 0, 4)
    logits = np.where(grades[:, None] > np.arange(4), 2.0, -2.0)
    metrics = task.metrics(logits, targets)
    assert metrics["kappa"] == pytest.approx(sklearn.cohen_kappa_score(targets, grades, weights="quadratic"))
    assert metrics["mae"] == pytest.approx(np.abs(grades - targets).mean())
    assert metrics["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(targets, grades))
    said = jnp.asarray(np.where(np.arange(5)[:, None] > np.arange(4), 2.0, -2.0), jnp.float32)  # of each grade
    for true in range(5):
        losses, _ = task.losses(said, jnp.full(5, true))
        assert (np.diff(losses[: true + 1]) < 0).all()  # the further off, the more
        assert (np.diff(losses[true:]) > 0).all()
    nominal = Class(label="grade", classes=5)
    alike = [float(nominal.losses(2 * jnp.eye(5)[g : g + 1], jnp.array([0]))[0][0]) for g in (1, 4)]
    assert alike[0] == pytest.approx(alike[1])


def test_several_labels_as_scikit_learn_has_them() -> None:
    task = EVERY["multi_label"]
    targets = targets_of(task, 80)
    outputs = outputs_of(task, targets)
    metrics = task.metrics(outputs, targets)
    for average in ("macro", "micro"):
        assert metrics[f"auroc_{average}"] == pytest.approx(sklearn.roc_auc_score(targets, outputs, average=average))
        expected = sklearn.average_precision_score(targets, outputs, average=average)
        assert metrics[f"average_precision_{average}"] == pytest.approx(expected)
    targets[:, 1] = 1  # has no AUROC: the mean is over the others
    without = task.metrics(outputs, targets)
    assert np.isnan(without["auroc/y"])
    assert without["auroc_macro"] == pytest.approx((without["auroc/x"] + without["auroc/z"]) / 2)


def test_several_numbers_as_scikit_learn_has_them() -> None:
    task = EVERY["numbers"]
    targets = targets_of(task, 80) * np.array([1.0, 1e4, 1e-3])
    outputs = task.units(targets).restore(outputs_of(task, targets))
    metrics = task.metrics(outputs, targets)
    assert metrics["r2"] == pytest.approx(sklearn.r2_score(targets, outputs))
    for name, measure in (("mae", sklearn.mean_absolute_error), ("rmse", sklearn.root_mean_squared_error)):
        each = measure(targets, outputs, multioutput="raw_values")
        assert [metrics[f"{name}/{label}"] for label in "abc"] == pytest.approx(each)
        assert metrics[name] == pytest.approx(np.mean(each))


def test_masks_as_scikit_learn_has_them() -> None:
    task = EVERY["masks"]
    targets = targets_of(task, 20, holes=0.2)
    outputs = outputs_of(task, targets)
    metrics, known = task.metrics(outputs, targets), targets >= 0
    found, true = outputs.argmax(axis=-1)[known], targets[known]
    assert metrics["dice"] == pytest.approx(sklearn.f1_score(true, found, labels=[1, 2], average="macro"))
    assert metrics["iou"] == pytest.approx(sklearn.jaccard_score(true, found, labels=[1, 2], average="macro"))
    empty = task.metrics(np.eye(3)[np.zeros((4, 6, 5), int)], np.zeros((4, 6, 5), int))
    assert np.isnan(empty["dice"])  # nothing to find, and nothing found


def test_the_dice_loss_is_that_of_the_whole_batch_and_0_without_foreground() -> None:
    """As `segmentation_models_pytorch` has it: all masks and pixels of a batch are one ratio."""
    task = EVERY["masks by the Dice loss"]
    targets = targets_of(task, 6)
    outputs, weights = outputs_of(task, targets), np.array([1, 1, 1, 1, 0, 0], np.float32)
    chances, kept = 1 / (1 + np.exp(-outputs.astype(np.float64))), targets[:4]
    expected = 1 - 2 * (chances[:4] * kept).sum() / (chances[:4] + kept).sum()
    loss = task.mean_loss(jnp.asarray(outputs), jnp.asarray(targets, jnp.int8), jnp.asarray(weights))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    value, slope = LOSS(task, jnp.asarray(outputs), jnp.zeros(targets.shape, jnp.int8))
    assert float(value) == 0
    assert not np.asarray(slope).any()
    shares = task.contributions(outputs, targets)
    assert shares.mean() == pytest.approx(task.metrics(outputs, targets)["dice"])


@pytest.mark.parametrize("name", ["ordinal", "multi_label", "numbers"])
def test_neighbours_vote_as_one_would_count(name: str) -> None:
    task = EVERY[name]
    targets = targets_of(task, 6, holes=0.3)[None]  # six neighbours of one row, each with the weight 1
    outputs = task.vote(np.ones((1, 6)), targets)
    if isinstance(task, Ordinal):
        expected = [(targets[0] > threshold).mean() for threshold in range(4)]
    else:
        expected = np.nanmean(targets[0], axis=0)
    np.testing.assert_allclose(outputs[0], expected)


def test_grades_are_decoded_as_by_the_code_of_contig() -> None:
    """Targets of grade g are g + 1 ones; the grade is the number of logits (not probabilities) above 0.5, minus 1."""
    task, rng = EVERY["grades of logits"], np.random.default_rng(0)
    targets, logits = rng.integers(0, 5, 48), rng.normal(0.3, 2, (48, 5))
    assert task.outputs == 5
    ones = np.array([[1.0] * (grade + 1) + [0.0] * (4 - grade) for grade in targets])
    losses, _ = task.losses(jnp.asarray(logits, jnp.float32), jnp.asarray(targets, jnp.int32))
    expected = -(ones * np.log(1 / (1 + np.exp(-logits))) + (1 - ones) * np.log(1 / (1 + np.exp(logits)))).mean(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    grades = (logits > 0.5).sum(axis=1) - 1
    assert grades.min() == -1
    metrics = task.metrics(logits, targets)
    kappa = sklearn.cohen_kappa_score(targets, grades, labels=range(-1, 5), weights="quadratic")
    assert metrics["kappa"] == pytest.approx(kappa)
    assert metrics["mae"] == pytest.approx(np.abs(grades - targets).mean())
    votes = task.vote(np.ones((1, 3)), np.array([[4, 2, 2]]))
    np.testing.assert_allclose(votes, [[1, 1, 1, 1 / 3, 1 / 3]])
    assert task.grades(votes, shares=True).tolist() == [2]


def test_metrics_of_batches_are_means_over_sixteen_rows() -> None:
    """They do not depend on the order of rows in a store, such as by grade."""
    task, rng = EVERY["ordinal"], np.random.default_rng(1)
    targets, logits = rng.integers(0, 5, 70), rng.normal(size=(70, 4))
    order = np.random.default_rng(0).permutation(70)
    batches = [order[start : start + 16] for start in range(0, 70, 16)]
    grades = task.grades(logits)
    each = [
        sklearn.cohen_kappa_score(targets[b], grades[b], labels=range(5), weights="quadratic") for b in batches
    ]  # fmt: skip
    metrics = task.metrics(logits, targets)
    assert metrics["kappa_of_batches"] == pytest.approx(np.mean(each))
    assert metrics["kappa_of_batches"] != pytest.approx(metrics["kappa"], abs=1e-3)
    alike = task.metrics(np.full((20, 4), 9.0), np.full(20, 4))
    assert np.isnan(alike["kappa_of_batches"])  # a batch of one grade, all right, has no kappa
    labels = EVERY["multi_label"]
    targets = targets_of(labels, 70, holes=0.2)
    outputs, known = outputs_of(labels, targets), ~np.isnan(targets)
    each = [sklearn.roc_auc_score(targets[b][known[b]], outputs[b][known[b]]) for b in batches]
    assert labels.metrics(outputs, targets)["auroc_micro_of_batches"] == pytest.approx(np.mean(each))


def test_the_macro_auroc_says_how_many_labels_it_counts() -> None:
    task = EVERY["multi_label"]
    targets = targets_of(task, 40)
    outputs = outputs_of(task, targets)
    assert task.metrics(outputs, targets)["labels_in_macro"] == 3
    targets[:, 0] = 0
    assert task.metrics(outputs, targets)["labels_in_macro"] == 2


def test_the_summed_error_of_the_mean_is_the_number_of_labels() -> None:
    task = EVERY["numbers"]
    targets = targets_of(task, 50, holes=0.3) * np.array([1.0, 1e4, 1e-3])
    means = np.broadcast_to(np.nanmean(targets, axis=0), targets.shape)
    assert task.metrics(means, targets)["standardised_mse_sum"] == pytest.approx(3)
    outputs = task.units(targets).restore(outputs_of(task, targets))
    scaled = np.nanmean(np.square(outputs - targets), axis=0) / np.nanvar(targets, axis=0)
    assert task.metrics(outputs, targets)["standardised_mse_sum"] == pytest.approx(scaled.sum())
    constant = np.where(np.isnan(targets), np.nan, 1.0)
    assert np.isnan(task.metrics(outputs, np.c_[targets[:, :2], constant[:, 2]])["standardised_mse_sum"])


def test_overlapping_masks_have_the_loss_and_the_soft_dice_of_contig() -> None:
    task = EVERY["overlapping masks"]
    targets = targets_of(task, 4)
    outputs = outputs_of(task, targets)
    p = 1 / (1 + np.exp(-outputs.astype(np.float64)))
    dice = (2 * (p * targets).sum() + 1) / (p.sum() + targets.sum() + 1)
    entropy = -np.where(targets == 1, np.log(p), np.log(1 - p)).mean()
    loss, _ = LOSS(task, jnp.asarray(outputs), jnp.asarray(targets, jnp.int8))
    assert float(loss) == pytest.approx(0.8 * (1 - dice) + 0.2 * entropy, rel=1e-5)
    metrics = task.metrics(outputs, targets)
    assert metrics["soft_dice"] == pytest.approx(dice)
    for index, name in enumerate(task.names):
        one, true = outputs[..., index].ravel() > 0, targets[..., index].ravel()
        assert metrics[f"dice/{name}"] == pytest.approx(sklearn.f1_score(true, one))
        assert metrics[f"iou/{name}"] == pytest.approx(sklearn.jaccard_score(true, one))
    weights = jnp.array([1.0, 1.0, 0.0, 0.0])
    half = task.mean_loss(jnp.asarray(outputs), jnp.asarray(targets, jnp.int8), weights)
    first, _ = LOSS(task, jnp.asarray(outputs[:2]), jnp.asarray(targets[:2], jnp.int8))
    assert float(half) == pytest.approx(float(first), rel=1e-5)
    nothing = task.metrics(np.full((2, 6, 5, 2), -9.0), np.zeros((2, 6, 5, 2), int))
    assert np.isnan(nothing["dice"])
    with pytest.raises(UserError, match=r"--protocol knn: the labels 'disc\+atrophy' are masks"):
        task.vote(np.ones((1, 1)), targets[None, :1])


GRADE = Column(name="grade", kind="ordinal", categories=("a", "b", "c"))
CLASS = Column(name="model", kind="categorical", categories=("a", "b", "c"))
BINARY = Column(name="cad", kind="boolean", categories=("no", "yes"))
NUMBER = Column(name="age", kind="continuous")


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        ([GRADE], None, "ordinal"), ([GRADE], "class", "class"), ([GRADE], "ordinal_logits", "ordinal_logits"),
        ([CLASS], None, "class"), ([NUMBER], None, "number"),
        ([dataclasses.replace(GRADE, categories=("a", "b"))], None, "class"),
        ([BINARY, dataclasses.replace(BINARY, name="mi")], None, "multi_label"),
        ([NUMBER, dataclasses.replace(NUMBER, name="weight")], None, "numbers"),
    ],
)  # fmt: skip
def test_a_label_is_the_task_that_its_kind_says(columns: list[Column], name: str | None, expected: str) -> None:
    task = task_of(columns, name)
    assert task.name == expected
    assert TASKS[expected] is type(task)
    assert task.label == "+".join(column.name for column in columns)


@pytest.mark.parametrize(
    ("columns", "name", "sentence"),
    [
        ([CLASS], "ordinal", "--task ordinal: the label 'model' .*categorical.* is no such task; choose --task class"),
        (
            [GRADE],
            "number",
            "--task number: the label 'grade' .* is no such task; choose --task ordinal or --task ordinal_logits",
        ),
        ([NUMBER], "rank", "--task: there is no task 'rank'; choose from class, ordinal, ordinal_logits, number"),
        (
            [BINARY, NUMBER],
            None,
            r"--label cad\+age: labels joined by '.' must all have two .*but cad is boolean, age is",
        ),
    ],
)
def test_a_task_that_does_not_fit_is_named(columns: list[Column], name: str | None, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        task_of(columns, name)


def test_tasks_that_differ_in_the_label_alone_are_equal() -> None:
    """So that they share compiled programs."""
    assert Class(label="a", classes=3) == Class(label="b", classes=3)
    assert Class(label="a", classes=3) != Ordinal(label="a", classes=3)
    assert hash(Number(label="a")) == hash(Number(label="b"))
