"""A fused view with `absent="mask"`: rows without image are fused from their tables, and do not enter matching."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import encoder, load, term, view
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions import Part
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.state.model import fuse_by, stateless_layers, trained_model
from mmcl_jax.training.step.forward import ViewedBatch, forward
from mmcl_jax.views import apply_views

pytestmark = pytest.mark.core
ROWS = 24
LACKS = {"image": np.arange(ROWS) % 3 == 0, "table": np.arange(ROWS) % 4 == 1}  # one of them lacks both


@pytest.fixture(scope="module")
def made(digits_store: Store) -> tuple[Experiment, Model, Any]:
    """The experiment, its model, and the compiled forward pass: the fused features and the metrics."""
    sizes = ["encoders.image.channels=(4, 8)", "encoders.table.hidden=16", "encoders.table.features=8"]
    config = load("digits_mmcl", [f"data={digits_store.directory}", "batch_norm.group_size=8", *sizes])
    config.views.fused = view("fused", of=("image.local", "table"), absent="mask")
    config.encoders.fusion = encoder("concat_mlp", hidden=8, features=8)
    config.objective = (term("matching"), term("supervised", between=("fused",)))
    experiment = build_experiment(config, digits_store, jax.devices()[:1])
    objective, model = experiment.objective, trained_model(config, digits_store.schema, rngs=nnx.Rngs(0))
    draws = {"seed": jnp.uint32(0), "step": jnp.int32(0)}

    @jax.jit
    def run(batch: dict[str, jax.Array]) -> Any:
        views = apply_views(experiment.views, batch, **draws, fitted={}, plain=True)
        outputs = forward(model, None, objective, ViewedBatch(rows=batch, views=views, **draws), train=False)
        fuse = fuse_by(model, objective, train=False)
        _, metrics = objective(outputs, batch, layers=stateless_layers(model, objective), fuse=fuse, **draws)
        return outputs["pooled"]["fused"], metrics

    return experiment, model, run


def batch_of(experiment: Experiment, junk: float = 0.0) -> dict[str, np.ndarray]:
    batch = {name: array[:ROWS] for name, array in experiment.batches[0].items()}
    batch |= {f"present/{name}": ~lacks for name, lacks in LACKS.items()}
    batch["image"] = np.where(LACKS["image"][:, None, None, None], np.uint8(int(junk) % 256), batch["image"])
    batch["table"] = np.where(LACKS["table"][:, None], np.float32(junk), batch["table"])
    return batch


def test_rows_without_an_image_are_fused_from_their_tables(made: Any) -> None:
    experiment, model, run = made
    fused, _ = jax.device_get(run(batch_of(experiment)))
    for junk in (255.0, np.float32(1e30)):
        np.testing.assert_array_equal(jax.device_get(run(batch_of(experiment, junk)))[0], fused)
    tables = jnp.asarray(batch_of(experiment)["table"][LACKS["image"]])
    token = Part(tokens=model.encoders.table(tables, train=False).pooled[:, None])
    none = Part(tokens=jnp.full((len(tables), 1, 8), jnp.nan), mask=jnp.zeros((len(tables), 1), bool))
    alone = np.asarray(model.encoders.fusion((none, token), train=False).pooled)
    there = ~LACKS["table"][LACKS["image"]]
    np.testing.assert_allclose(fused[LACKS["image"]][there], alone[there], rtol=1e-4, atol=1e-5)
    assert (fused[LACKS["table"]] == 0).all()  # the last part must be there
    assert np.abs(fused[~LACKS["table"]]).max(axis=1).min() > 0


def test_rows_with_an_absent_side_do_not_enter_matching(made: Any) -> None:
    experiment, _, run = made
    _, metrics = jax.device_get(run(batch_of(experiment)))
    assert metrics["supervised/fused/rows"] == (~LACKS["table"]).sum()
    assert metrics["matching/image-table-fused:none/rows"] == (~LACKS["table"] & ~LACKS["image"]).sum()
