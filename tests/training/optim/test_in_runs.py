"""Optimizers, clipping and averages in real runs: the same in slices and shares, the same bits after a stop."""

from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from benchmarks.step import prepared
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.mesh import by_example, put
from mmcl_jax.training.validate import check_config
from tests.training.test_loop import bits, losses, quiet, stop_at

CLIP = 0.05


@pytest.fixture
def small(digits_store: Store):
    """Makes the config of a table alone, with groups of parameters and clipping: `small(*overrides)`."""

    def make(*overrides: str) -> ConfigDict:
        config = [
            f"data={digits_store.directory}", "batch_size=64", "epochs=1", "batch_norm.group_size=8", "log_every=1",
            "encoders.table.hidden=16", "encoders.table.features=8", "projectors.table.hidden=8",
            "projectors.table.out=8", "monitor.epochs=None", f"clip_norm={CLIP}", "rates.projectors.*=0.5",
        ]  # fmt: skip
        return load("mmcl/scarf:digits", [*config, *overrides])

    return make


def after_one_step(config: ConfigDict, devices: int):
    experiment = build_experiment(config, Store.open(config.data), jax.devices()[:devices])
    compiled, state, constants = prepared(experiment)
    before = jax.device_get(state.params)
    state, metrics = compiled(state, put(experiment.batches[0], by_example(experiment.mesh)), constants)
    return before, jax.device_get(state.params), float(metrics["gradient_norm"])


def test_clipping_in_slices_and_shares_is_that_of_the_whole_gradient(small) -> None:
    """Descent at the rate 1 moves by the gradient: by CLIP in all, or by half in the group whose rate is a half."""
    descent = ["optimizer.name=sgd", "optimizer.weight_decay=0.0"]
    descent += ["schedule.name=constant", "schedule.learning_rate=1.0"]
    before, after, norm = after_one_step(small(*descent), 1)
    moved = {
        part: np.sqrt(sum(np.square(b - a).sum() for b, a in zip(*map(jax.tree.leaves, pair), strict=True)))
        for part in ("encoders", "projectors")
        for pair in [(before[part], after[part])]
    }
    assert norm > 2 * CLIP  # the logged norm is that before clipping
    assert moved["projectors"] > 0.1 * CLIP
    np.testing.assert_allclose(np.hypot(moved["encoders"], 2 * moved["projectors"]), CLIP, rtol=1e-4)
    scaled = ["micro_batch=32", "mesh.model=2", "mesh.shard_above=32"]
    _, shared, again = after_one_step(small(*descent, *scaled), 4)
    np.testing.assert_allclose(again, norm, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), shared, after)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_stopped_run_continues_from_the_weights_and_not_their_average(
    name: str, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a trace or with moments, groups, clipping and a running average, to the bit."""
    config = small(f"optimizer.name={name}", "average.kind=ema", "average.decay=0.9", "checkpoint_every=1000")
    one = jax.devices()[:1]
    whole = pretrain(config, tmp_path / "whole", devices=one, log=quiet)
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        stopped = pretrain(config, tmp_path / "stopped", devices=one, log=quiet)
    assert stopped.step == 7
    assert bits(stopped.state.params) != bits(stopped.state.average["params"])
    continued = pretrain(config, tmp_path / "stopped", devices=one, log=quiet)
    assert bits(continued.state) == bits(whole.state)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan"), True, "long"])
def test_a_norm_to_clip_to_is_positive(value: object, tiny_config) -> None:
    config = tiny_config("digits_mmcl")
    with config.ignore_type():
        config.clip_norm = value
    with pytest.raises(UserError, match=r"config\.clip_norm: .* (must be positive and finite, or None|is not of type)"):
        check_config(config)
