"""A union of all edges is trained, alike on one device, on two, and in slices."""

import jax
import numpy as np
import pytest

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.training.build import build_experiment
from tests.training.walk import begin, compiled, walk

STEPS = 4
UNION = "taxonomy/CR-XX-CC-RR:two_view_mnist"
TINY = [
    *(f"views.{name}.size=(32, 32)" for name in ("rotated", "noisy")),
    *(f"encoders.{name}.{size}" for name in ("rotated", "noisy") for size in ("width=2", "features=8")),
    *(f"projectors.{name}.local.{size}=8" for name in ("rotated", "noisy") for size in ("hidden", "out")),
    "batch_size=32", "batch_norm.group_size=8", "epochs=3", "validation.epochs=None",
]  # fmt: skip


def losses(store: Store, devices: int, *overrides: str) -> list[float]:
    config = load(UNION, [f"data={store.directory}", *TINY, *overrides])
    experiment = build_experiment(config, store, jax.devices()[:devices])
    state, batches, constants = begin(experiment, STEPS)
    return walk(compiled(experiment), state, batches, constants)


@pytest.fixture(scope="module")
def alone(digits_store: Store) -> list[float]:
    return losses(digits_store, 1)


def test_all_edges_are_learned_alike_on_two_devices_in_slices(digits_store: Store, alone: list[float]) -> None:
    """Gradient caching draws the same places: they are a function of the row, the step and the view."""
    assert len(set(np.round(alone, 4))) == STEPS
    np.testing.assert_allclose(losses(digits_store, 2, "micro_batch=16"), alone, rtol=2e-4)
