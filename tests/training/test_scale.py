"""The same experiment in slices, in shares, and with activations computed again."""

from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from benchmarks.step import prepared
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.mesh import by_example, put
from tests.training.test_loop import losses, quiet


def experiment_of(config, devices: int) -> Experiment:
    return build_experiment(config, Store.open(config.data), jax.devices()[:devices])


def one_step(experiment: Experiment):
    """State and metrics after the first step."""
    compiled, state, constants = prepared(experiment)
    return compiled(state, put(experiment.batches[0], by_example(experiment.mesh)), constants)


def assert_same(a, b, **tolerance: float) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("name", [pytest.param("digits_mmcl", marks=pytest.mark.core), "digits_simclr"])
def test_gradients_in_slices_are_those_of_the_whole_batch(name: str, tiny_config) -> None:
    """Adam's first moment after one step is a tenth of the gradient."""
    expected, expected_metrics = one_step(experiment_of(tiny_config(name), 1))
    state, metrics = one_step(experiment_of(tiny_config(name, "micro_batch=16"), 2))
    assert_same(metrics, expected_metrics, rtol=1e-5)
    moments, expected_moments = (
        jax.tree.leaves(optax.tree_utils.tree_get(s.optimizer_state, "mu")) for s in (state, expected)
    )
    largest = max(np.abs(moment).max() for moment in expected_moments)
    for mine, theirs in zip(moments, expected_moments, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6 * largest)
    assert_same(state.model_state, expected.model_state, rtol=1e-5, atol=1e-7)


def test_a_siglip_run_in_slices_and_shares_is_the_same_run(tiny_config, tmp_path: Path) -> None:
    """Learned scalars, gradient caching, the ring and a model axis at once, against none of them; then moved."""
    siglip = ["objective.0.name=siglip"]
    scaled = ["micro_batch=32", "mesh.model=2", "mesh.shard_above=32", "pairs.execution=ring", "pairs.tile=3"]
    pretrain(tiny_config("digits_mmcl", *siglip), tmp_path / "plain", devices=jax.devices()[:1], log=quiet)
    result = pretrain(
        tiny_config("digits_mmcl", *siglip, *scaled), tmp_path / "scaled", devices=jax.devices()[:4], log=quiet
    )
    np.testing.assert_allclose(losses(tmp_path / "scaled"), losses(tmp_path / "plain"), rtol=1e-5)
    assert float(result.state.params["learned"]["term_0"]["bias"]) != -10
    assert not result.state.params["projectors"]["image"]["hidden"]["kernel"].is_fully_replicated
    # The same directory continues on one device without any of it (it is complete, so it only loads).
    loaded = pretrain(tiny_config("digits_mmcl", *siglip), tmp_path / "scaled", devices=jax.devices()[:1], log=quiet)
    assert_same(jax.device_get(loaded.state.params), jax.device_get(result.state.params), rtol=0)


def test_a_model_axis_divides_large_parameters_and_their_moments(tiny_config) -> None:
    whole, shared = (
        experiment_of(tiny_config("digits_mmcl", f"mesh.model={model}", "mesh.shard_above=32"), 8) for model in (1, 8)
    )

    def per_device(experiment: Experiment) -> int:
        leaves = jax.tree.leaves(experiment.shapes()[0])
        return sum(int(np.prod(leaf.sharding.shard_shape(leaf.shape))) for leaf in leaves)

    assert per_device(shared) < per_device(whole) / 4
    state = shared.shapes()[0]
    kernel, bias = (state.params["projectors"]["image"]["hidden"][name] for name in ("kernel", "bias"))
    assert bias.sharding.is_fully_replicated
    assert kernel.sharding.shard_shape(kernel.shape) == (kernel.shape[0] // 8, kernel.shape[1])
    specs = {str(leaf.sharding.spec) for leaf in jax.tree.leaves(state.optimizer_state)}
    assert specs == {str(leaf.sharding.spec) for leaf in jax.tree.leaves(state.params)}


@pytest.mark.core
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["micro_batch=48"], "config.micro_batch: 48 does not divide config.batch_size, which is 64"),
        (["micro_batch=32"], r"micro_batch: 32 does not give each of 8 devices whole groups of 8 \(config.batch_norm"),
        (["micro_batch=32", "batch_norm.group_size=None"], "slices cannot be normalised over the whole batch"),
        (["micro_batch=0"], "config.micro_batch: 0 must be positive, or None"),
        (["mesh.model=3"], "config.mesh.model: 3 does not divide 8, the number of devices"),
        (["mesh.shard_above=-1"], "config.mesh.shard_above: -1 must not be negative"),
        (["pairs.execution=sparse"], "config.pairs.execution: 'sparse' must be one of dense, gathered, ring"),
        (["pairs.tile=0"], "config.pairs.tile: 0 must be positive, or None"),
    ],
)
def test_bad_scaling_is_refused(
    overrides: list[str], sentence: str, tiny_config, eight_devices: None, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        pretrain(tiny_config("digits_mmcl", *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
