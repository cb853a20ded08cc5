"""LoVT's model and terms: attention pooling, projectors and an alignment with norms, the same in slices and shares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import ENCODERS, PROJECTORS, ViewSpec, build_model
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.objectives import Execution, LayerInput, Objective, clip, local_alignment
from mmcl_jax.objectives.stages import Sizes
from mmcl_jax.training.mesh import by_example, make_mesh, put, put_whole, replicated
from mmcl_jax.training.state.train_state import split_model
from mmcl_jax.training.step.forward import ViewedBatch, forward
from mmcl_jax.training.step.gradients import in_slices, whole_batch
from mmcl_jax.views import Viewed

ROWS, GROUP, WIDTH = 32, 4, 6
NORM = {"group_size": GROUP, "momentum": 0.9, "epsilon": 1e-5}
KEYS = ("image", "image.local", "report", "report.local")
POOLED = {"pooling": "attention", "pooling_heads": 2}
CONFIG = ConfigDict(
    {
        "dtype": "float32",
        "batch_norm": NORM,
        "encoders": {
            "image": ENCODERS.spec("cnn", channels=(4,), **POOLED),
            "report": ENCODERS.spec("text_embedding", features=4, **POOLED),
        },
        "projectors": {key: PROJECTORS.spec("lovt_mlp", hidden=4, out=WIDTH) for key in KEYS},
        "predictors": {},
        "views": {},
    },
    allow_dotted_keys=True,
)
SPECS = {
    "image": ViewSpec(kind="image", shape=(4, 4, 1)),
    "report": ViewSpec(kind="text", shape=(3, 2), widths=(9,)),
}
TERMS = (
    clip(between=("image", "report"), balance=0.75, within=8, text="ignore", group="ignore"),
    local_alignment(),
)


def batch_of(junk: float) -> dict[str, np.ndarray]:
    """A third of the rows has no report, two whole groups among them; the last rows are padding."""
    rng = np.random.default_rng(0)
    there = (np.arange(ROWS) % 3 > 0) & ~np.isin(np.arange(ROWS) // GROUP, (2, 3))
    report = np.where(np.arange(3)[:, None] < rng.integers(1, 4, (ROWS, 1, 1)), rng.integers(0, 9, (ROWS, 3, 2)), -1)
    report[20:22] = report[:2]  # a row with the text of another
    return {
        "id": np.arange(ROWS, dtype=np.uint32),
        "group": (np.arange(ROWS) // 2).astype(np.int32),
        "image": rng.random((ROWS, 4, 4, 1)).astype(np.float32),
        "report": np.where(there[:, None, None], report, np.int32(junk)).astype(np.int32),
        "present/report": there,
        "valid": np.arange(ROWS) < 30,
    }


def gradients(devices: int, size: int | None, *, junk: float = -1) -> Any:
    """Gradients, model state and metrics, with or without slices."""
    mesh = make_mesh(jax.devices()[:devices])
    objective = Objective(TERMS, {"image": "image", "report": "report"}, execution=Execution(mesh=mesh))
    model = build_model(CONFIG, SPECS, rngs=nnx.Rngs(0))
    sizes = (Sizes(pooled=4, local=4, embedding=WIDTH),) * 2
    context = LayerInput(
        sizes=sizes,
        norm=lambda channels: BatchNorm(channels, dtype=jnp.float32, **NORM),
        rngs=nnx.Rngs(1),
        dtype=jnp.float32,
    )
    model.heads = nnx.Dict({"term_1": nnx.Dict({"align": TERMS[1].layers["align"].build(context)})})
    graph = nnx.graphdef(model)
    params, model_state = put_whole(jax.device_get(split_model(model)), replicated(mesh))

    def encode(params: Any, model_state: Any, batch: Any) -> Any:
        model = nnx.merge(graph, params, model_state)
        views = {name: Viewed(batch[name]) for name in ("image", "report")}
        viewed = ViewedBatch(rows=batch, views=views, seed=jnp.uint32(0), step=jnp.int32(0))
        return forward(model, None, objective, viewed), split_model(model)[1]

    def contrast(params: Any, outputs: Any, batch: Any) -> Any:
        return objective(outputs, batch)

    def both(params: Any, model_state: Any, batch: Any) -> Any:
        if size is None:
            return whole_batch(encode, contrast, params, model_state, batch)
        return in_slices(encode, contrast, params, model_state, batch, size=size, mesh=mesh)

    return jax.device_get(jax.jit(both)(params, model_state, put(batch_of(junk), by_example(mesh))))


@pytest.fixture(scope="module")
def expected() -> Any:
    return gradients(1, None)


@pytest.mark.parametrize(("devices", "size"), [(2, 16), (8, None)])
def test_slices_and_devices_change_nothing(devices: int, size: int | None, expected: Any) -> None:
    actual = gradients(devices, size, junk=7)  # what absent rows hold changes nothing, either
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        # Biases of keys, and of values before a norm, have the gradient 0; what is left of it is rounding.
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)


def test_all_parts_are_trained_and_the_norm_has_statistics(expected: Any) -> None:
    slopes, state, metrics = expected
    align = slopes["heads"]["term_1"]["align"]
    pool = slopes["encoders"]["image"]["attention_pool"]["attention"]
    trained = (align["value"]["kernel"], align["norm"]["scale"], pool["query"]["kernel"], pool["key_value"]["kernel"])
    assert min(np.abs(part).max() for part in trained) > 1e-4
    # Of 20 rows with a report and 30 that are no padding.
    assert metrics["local_alignment/image.local-report.local/rows"] == 15
    assert np.all(state["heads"]["term_1"]["align"]["norm"]["var"] != 1)
