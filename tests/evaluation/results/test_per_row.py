"""What every test row adds to a metric."""

import numpy as np
import pytest

from mmcl_jax.evaluation.results.per_row import packed, parts, unpacked
from mmcl_jax.tasks import Class, Task

pytestmark = pytest.mark.core

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
