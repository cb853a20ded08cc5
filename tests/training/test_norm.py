"""The norm of gradients that are divided over devices: the same number, in one message."""

import jax
import numpy as np
import optax
import pytest

from benchmarks.hlo import collectives
from benchmarks.synthetic import experiment
from mmcl_jax.training.mesh import by_size, make_mesh
from mmcl_jax.training.step.norm import global_norm
from mmcl_jax.training.step.train_step import compile_step, make_step

pytestmark = pytest.mark.core


@pytest.mark.parametrize("model", [1, 2, 8])
def test_the_norm_is_that_of_the_whole_arrays(model: int) -> None:
    rng = np.random.default_rng(0)
    tree = {name: rng.normal(size=size).astype(np.float32) for name, size in (("a", (16, 8)), ("b", (3,)), ("c", (8,)))}
    mesh = make_mesh(jax.devices(), model=model)
    shardings = by_size(mesh, tree, above=4)
    found = jax.jit(lambda tree: global_norm(tree, shardings, mesh))(jax.device_put(tree, shardings))
    np.testing.assert_allclose(found, optax.global_norm(tree), rtol=1e-6)


def test_gradients_that_are_divided_are_sent_together() -> None:
    """`optax.global_norm` makes it 14 messages on JAX 0.10: each norm was sent with the next layer's gradient."""
    sizes = ["mesh.model=8", "mesh.shard_above=500", "batch_norm.group_size=8"]
    made = experiment("digits_mmcl", *sizes, size=16, batch_size=64, devices=jax.devices())
    compiled = compile_step(make_step(made), *made.shapes(), dtype="float32")
    assert collectives(compiled.as_text())["all-reduce"]["count"] <= 6
