"""A head whose outputs are a map, trained by the engine that trains all heads."""

import numpy as np
import pytest

from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.feeds import Labelled
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.probe import ProbeSettings, train_heads
from mmcl_jax.tasks import Segmentation

pytestmark = pytest.mark.core


def test_maps_are_enlarged_between_the_centres_of_cells() -> None:
    """As PyTorch's bilinear interpolation with `align_corners=False`: beyond the outer centres values stay."""
    head = LinearSegmentation(size=(4, 2))
    cells = np.array([[[[0.0], [0.0]], [[1.0], [2.0]]]], np.float32)
    outputs = head({"kernel": np.full((1, 1), 10, np.float32), "bias": np.ones(1, np.float32)}, cells)
    assert outputs.shape == (1, 4, 2, 1)
    np.testing.assert_allclose(outputs[0, :, 0, 0], [1, 3.5, 8.5, 11], rtol=1e-6)
    np.testing.assert_allclose(outputs[0, :, 1, 0], [1, 6, 16, 21], rtol=1e-6)


def scenes(rows: int, seed: int, *, classes: int, unlabelled: float) -> tuple[np.ndarray, np.ndarray]:
    """Maps of 4 x 3 cells, and masks of 8 x 6 pixels: the class of a cell is in its features, with much noise."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, classes, (rows, 4, 3))
    maps = 3 * np.eye(classes)[cells] + rng.normal(size=(rows, 4, 3, classes))
    masks = cells.repeat(2, axis=1).repeat(2, axis=2)
    return np.concatenate([maps, rng.normal(size=(rows, 4, 3, 4))], axis=-1), np.where(
        rng.random(masks.shape) < unlabelled, -1, masks
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_a_mask_is_learnt_from_feature_maps(classes: int) -> None:
    task = Segmentation(label="lesion", classes=classes)
    parts = [scenes(40, seed, classes=classes, unlabelled=0.3 if seed < 2 else 0.0) for seed in range(3)]
    maps = [Standard.of(parts[0][0]).apply(features) for features, _ in parts]
    train, val, test = (Labelled(x, masks) for x, (_, masks) in zip(maps, parts, strict=True))
    draws = np.stack([np.arange(0, 24), np.arange(16, 40)])
    settings = ProbeSettings(
        task=task, reads=("image",), learning_rates=[float("inf"), 3e-2], max_epochs=12,
        head=LinearSegmentation(zeros=True, size=(8, 6)),
    )  # fmt: skip
    heads = train_heads(train, val, draws, settings, seeds=[(0, 0), (0, 1)])
    for head in heads:
        outputs = head.outputs(test.features)
        assert outputs.shape == (40, 8, 6, classes)
        assert head.rate == 3e-2
        assert head.reached == pytest.approx(task.metrics(head.outputs(val.features), val.targets)["dice"], abs=1e-5)
        metrics = task.metrics(outputs, test.targets)
        assert metrics["dice"] > 0.8
        assert metrics["iou"] == pytest.approx(metrics["dice"] / (2 - metrics["dice"]), abs=0.02)
    wrong = task.metrics(heads[0].outputs(test.features), np.roll(test.targets, 1, axis=0))
    assert wrong["dice"] < 0.65
