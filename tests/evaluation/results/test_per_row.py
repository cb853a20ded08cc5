"""What every test row adds to a metric."""

import numpy as np
import pytest

from mmcl_jax.evaluation.results.per_row import of_people, packed, parts, unpacked
from mmcl_jax.tasks import Class, Task
from tests.tasks.test_every_task import EVERY, outputs_of, targets_of

pytestmark = pytest.mark.core
MEASURED = [name for name in EVERY if not name.startswith("one ")]

BINARY = Class(label="cad", classes=2)
MODEL = Class(label="model", classes=4)


@pytest.mark.parametrize("task", [BINARY, MODEL], ids=["auroc", "top1"])
def test_their_mean_is_the_metric_and_text_keeps_them(task: Task) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, task.classes, 91)
    outputs = rng.normal(size=(91, task.classes)).round(1) + np.eye(task.classes)[targets]
    values = parts(task, outputs, targets)
    assert values is not None
    assert values.mean() == pytest.approx(task.metrics(outputs, targets)[task.primary], abs=1e-6)
    np.testing.assert_array_equal(unpacked(packed(values)), values)


def test_the_variance_of_an_auroc_is_that_of_other_test_sets() -> None:
    rng = np.random.default_rng(1)
    drawn, estimated = [], []
    for _ in range(300):
        targets = (np.arange(120) < 30).astype(int)
        outputs = np.stack([np.zeros(120), rng.normal(size=120) + targets], axis=1)
        values = parts(BINARY, outputs, targets)
        assert values is not None
        drawn.append(values.mean())
        estimated.append(values.var() / len(values))
    assert np.mean(estimated) == pytest.approx(np.var(drawn), rel=0.2)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [(np.full((3, 2), np.nan), np.array([0, 1, 1])), (np.zeros((3, 2)), np.array([1, 1, 1]))],
    ids=["diverged", "one class"],
)
def test_what_has_no_metric_has_no_parts(outputs: np.ndarray, targets: np.ndarray) -> None:
    assert packed(parts(BINARY, outputs, targets)) == ""
    assert unpacked("") is None


def drawn(name: str, rows: int, *, seed: int = 0) -> tuple[Task, np.ndarray, np.ndarray]:
    """Outputs and targets, in units of the label, of a task; some labels are missing where they may be."""
    task = EVERY[name]
    targets = targets_of(task, rows, seed=seed, holes=0.2)
    return task, task.units(targets).restore(outputs_of(task, targets, seed=seed + 1)), targets


@pytest.mark.parametrize("name", MEASURED)
def test_the_variance_is_that_of_people_who_are_drawn_again(name: str) -> None:
    """Every person has one to three rows, which are alike: the bootstrap over people is the reference."""
    task, outputs, targets = drawn(name, 150)
    rng = np.random.default_rng(3)
    times = rng.integers(1, 4, 150)
    rows, people = np.repeat(np.arange(150), times), np.repeat(rng.permutation(150), times)
    values = of_people(parts(task, outputs[rows], targets[rows]), people)
    assert values is not None
    assert len(values) == 150
    assert values.mean() == pytest.approx(task.metrics(outputs[rows], targets[rows])[task.primary], rel=1e-3)
    by_person = [np.flatnonzero(people == person) for person in range(150)]
    again = []
    for _ in range(120):
        picked = np.concatenate([by_person[person] for person in rng.integers(0, 150, 150)])
        again.append(task.metrics(outputs[rows[picked]], targets[rows[picked]])[task.primary])
    assert values.std() / np.sqrt(150) == pytest.approx(np.std(again), rel=0.25)


@pytest.mark.parametrize("name", MEASURED)
def test_two_equal_eyes_of_every_person_give_the_interval_of_people(name: str) -> None:
    task, outputs, targets = drawn(name, 80)
    alone = parts(task, outputs, targets)
    both = parts(task, np.repeat(outputs, 2, axis=0), np.repeat(targets, 2, axis=0))
    assert alone is not None
    assert both is not None
    people = of_people(both, np.repeat(np.arange(80), 2))
    np.testing.assert_allclose(people, alone, rtol=2e-4, atol=2e-5)
    assert both.var() / 160 < 0.6 * people.var() / 80  # rows alone would have said half the variance
    np.testing.assert_array_equal(of_people(alone, np.arange(80)[::-1]), alone)
    text = packed(people, people=True)
    assert text.startswith("people ")
    np.testing.assert_array_equal(unpacked(text), people)
