"""What holds of every task: its metrics against scikit-learn, on the device as on the host, and what is missing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import UserError
from mmcl_jax.tasks import TASKS, Class, MultiLabel, Number, Numbers, Ordinal, Segmentation, Task, task_of

pytestmark = pytest.mark.core

EVERY: dict[str, Task] = {
    "two classes": Class(label="cad", classes=2),
    "classes": Class(label="model", classes=4),
    "one class of two": Class(label="cad", classes=2, one_class=True),
    "ordinal": Ordinal(label="grade", classes=5),
    "one grade": Ordinal(label="grade", classes=5, one_class=True),
    "number": Number(label="age"),
    "numbers": Numbers(label="a+b+c", names=("a", "b", "c")),
    "multi_label": MultiLabel(label="x+y+z", names=("x", "y", "z")),
    "one class of each": MultiLabel(label="x+y", names=("x", "y"), one_class=True),
    "mask": Segmentation(label="lesion", classes=2),
    "masks": Segmentation(label="organs", classes=3),
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


@pytest.mark.parametrize("name", ["numbers", "multi_label", "one class of each", "mask", "masks"])
def test_labels_that_are_missing_change_neither_loss_nor_gradient(name: str) -> None:
    task = EVERY[name]
    targets = targets_of(task, 40, holes=0.5)
    outputs = jnp.asarray(outputs_of(task, targets))
    standard = task.units(targets).standardise(targets).astype(task.dtype)
    missing = (standard < 0) if isinstance(task, Segmentation) else np.isnan(standard)
    at = missing[..., None] & np.ones(task.outputs, bool) if isinstance(task, Segmentation) else missing
    loss, slope = LOSS(task, outputs, jnp.asarray(standard))
    moved, _ = LOSS(task, jnp.where(at, 1e4, outputs), jnp.asarray(standard))
    assert float(moved) == float(loss)
    assert not np.asarray(slope)[at].any()
    assert np.isfinite(slope).all()
    assert np.asarray(slope)[~at].any()
    losses, counts = task.losses(outputs, jnp.asarray(standard))
    assert float(loss) == pytest.approx(float(losses.sum() / counts.sum()), rel=1e-6)
    assert float(counts.sum()) == (~missing).sum()


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


GRADE = Column(name="grade", kind="ordinal", categories=("a", "b", "c"))
CLASS = Column(name="model", kind="categorical", categories=("a", "b", "c"))
BINARY = Column(name="cad", kind="boolean", categories=("no", "yes"))
NUMBER = Column(name="age", kind="continuous")


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        ([GRADE], None, "ordinal"), ([GRADE], "class", "class"), ([CLASS], None, "class"), ([NUMBER], None, "number"),
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
            "--task number: the label 'grade' .* is no such task; choose --task ordinal or --task class",
        ),
        ([NUMBER], "rank", "--task: there is no task 'rank'; choose from class, ordinal, number"),
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
