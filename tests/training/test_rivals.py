"""Each rival of the taxonomy is trained for a few steps, and its loss falls."""

import jax
import numpy as np
import pytest

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.training.build import build_experiment
from tests.training.walk import begin, compiled, walk

VIEWS = ("rotated", "noisy")
STEPS = 8
COMMON = [
    *(f"views.{name}.size=(32, 32)" for name in VIEWS),
    "batch_size=16", "batch_norm.group_size=8", "epochs=3", "validation.epochs=None",
    "optimizer.name=adam_l2", "schedule.name=constant", "schedule.learning_rate=0.003",
]  # fmt: skip
TINY = [*(f"encoders.{name}.{size}" for name in VIEWS for size in ("width=2", "features=8"))]
DECODERS = [f"objective.{index}.decoder.width=2" for index in range(2)]
HEADS = [f"projectors.{name}.local.{size}=8" for name in VIEWS for size in ("hidden", "out")]
FLAT = [f"encoders.{name}.hidden=16" for name in VIEWS]
RIVALS = {
    "ae": [*TINY, *DECODERS],
    "rr_ae": [*TINY, *DECODERS],
    "dccae": [*TINY, *DECODERS],
    "l_cca": TINY,
    "cr_cca": [*TINY, *HEADS],
    "supervised": TINY,
    "mmvae": [*TINY, "objective.0.decoders.0.width=2", "objective.0.samples=4"],
    "mmvae_original": [*FLAT, "objective.0.samples=4", "optimizer.name=amsgrad"],
}


@pytest.mark.parametrize("name", RIVALS)
def test_the_loss_falls(name: str, digits_store: Store) -> None:
    """On one batch, again and again, whose views are drawn anew."""
    overrides = [f"data={digits_store.directory}", *COMMON, *RIVALS[name]]
    experiment = build_experiment(load(f"taxonomy/{name}:two_view_mnist", overrides), digits_store, jax.devices()[:1])
    state, batches, constants = begin(experiment, 1)
    losses = walk(compiled(experiment), state, batches * STEPS, constants)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-2:]) < np.mean(losses[:2]), losses
