"""Gradient caching of outputs of any kind, and with absent rows: slices and devices change nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import ENCODERS, PROJECTORS, Features, ViewSpec, build_model
from mmcl_jax.training.mesh import by_example, make_mesh, put, put_whole, replicated
from mmcl_jax.training.state.train_state import split_model
from mmcl_jax.training.step.gradients import in_slices, whole_batch

pytestmark = pytest.mark.core

ROWS, GROUP = 32, 2
CONFIG = ConfigDict(
    {
        "dtype": "float32",
        "batch_norm": {"group_size": GROUP, "momentum": 0.9, "epsilon": 1e-5},
        "encoders": {
            "report": ENCODERS.spec("text_embedding", features=5),
            "scores": ENCODERS.spec("vector_mlp", hidden=6, features=4),
        },
        "projectors": {
            name: PROJECTORS.spec("mlp_norm", hidden=(4,), out=3) for name in ("report", "report.local", "scores")
        },
        "predictors": {},
        "views": {},
    },
    allow_dotted_keys=True,
)
SPECS = {
    "report": ViewSpec(kind="text", shape=(4, 2), widths=(9,)),
    "scores": ViewSpec(kind="vector", shape=(3,)),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Read:
    """What the objective reads: floats, a mask, codes, keys, features with a static part, and nothing."""

    scores: jax.Array
    local: jax.Array
    there: jax.Array
    code: jax.Array
    keys: jax.Array
    features: dict[str, Features | None]


def batch_of(junk: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    report = np.where(np.arange(4)[:, None] < rng.integers(1, 5, (ROWS, 1, 1)), rng.integers(0, 9, (ROWS, 4, 2)), -1)
    batch = {
        "id": np.arange(ROWS, dtype=np.uint32),
        "report": report.astype(np.int32),
        "scores": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "present/report": rng.random(ROWS) < 0.7,
        "present/scores": rng.random(ROWS) < 0.6,
        "code": rng.integers(0, 3, ROWS).astype(np.int32),
    }
    batch["present/scores"][8:16] = False  # whole groups, and on one device a whole slice
    batch["scores"][~batch["present/scores"]] = junk
    batch["report"][~batch["present/report"]] = np.int32(np.nan_to_num(junk, nan=-127, posinf=7))
    return batch


def gradients(devices: int, size: int | None, junk: float = np.nan) -> Any:
    """Gradients, model state and what else the contrast gives, with or without slices."""
    mesh = make_mesh(jax.devices()[:devices])
    model = build_model(CONFIG, SPECS, rngs=nnx.Rngs(0))
    graph = nnx.graphdef(model)
    params, model_state = put_whole(jax.device_get(split_model(model)), replicated(mesh))

    def encode(params: Any, model_state: Any, batch: Any) -> tuple[Read, Any]:
        model = nnx.merge(graph, params, model_state)
        # The first call of these layers is for all rows, the others for those that are there.
        plain = model.encode("scores", jnp.nan_to_num(batch["scores"], nan=0.5), train=True)
        there = batch["present/report"]
        report = model.encode("report", batch["report"], train=True, present=there)
        scores = model.encode("scores", batch["scores"], train=True, present=batch["present/scores"])
        read = Read(
            model.project("scores", scores, train=True, present=batch["present/scores"]),
            model.project("report.local", report, train=True, present=there),
            report.local_present(there),
            batch["code"],
            jax.vmap(jax.random.key)(batch["id"]),
            {"report": report, "plain": plain, "none": None},
        )
        return read, split_model(model)[1]

    def contrast(params: Any, read: Read, batch: Any) -> tuple[jax.Array, Any]:
        assert read.there.dtype == bool
        assert read.code.dtype == np.int32
        assert read.features["none"] is None
        assert jnp.issubdtype(read.keys.dtype, jax.dtypes.prng_key)
        count = jnp.maximum(read.there.sum(axis=1), 1).astype(jnp.float32)
        mean = read.local.sum(axis=1) / count[:, None]
        both = batch["present/report"] & batch["present/scores"]
        counted = both[:, None] & both[None] & (read.code[:, None] == read.code[None])
        noise = jax.vmap(jax.random.normal)(read.keys)
        pairs = jnp.where(counted, jnp.tanh(read.scores @ mean.T + noise[None]), 0)
        value = pairs.sum() / ROWS + jnp.square(read.features["plain"].pooled - 1).mean()
        return value, (value, read.code.sum())

    def both(params: Any, model_state: Any, batch: Any) -> Any:
        if size is None:
            return whole_batch(encode, contrast, params, model_state, batch)
        return in_slices(encode, contrast, params, model_state, batch, size=size, mesh=mesh)

    return jax.device_get(jax.jit(both)(params, model_state, put(batch_of(junk), by_example(mesh))))


@pytest.fixture(scope="module")
def expected() -> Any:
    return gradients(1, None)


@pytest.mark.parametrize(("devices", "size"), [(1, 4), (2, 8), (8, 16), (8, None)])
def test_slices_and_devices_change_nothing(devices: int, size: int | None, expected: Any) -> None:
    found = gradients(devices, size)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    assert all(np.abs(leaf).max() > 1e-5 for leaf in jax.tree.leaves(expected[0]["encoders"]["scores"]["norms"]))
