"""Steps with numbers that are not finite: skipped, counted, written down, and limited."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from benchmarks.step import prepared
from mmcl_jax.border import parse
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training import loop
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.mesh import by_example, put
from mmcl_jax.training.runs.checkpoint import steps_of
from mmcl_jax.training.runs.skips import SKIPPED_STEPS
from mmcl_jax.training.step.finite_step import all_finite
from tests.training.test_loop import bits, losses, quiet, stop_at


def poisoned(experiment: Experiment, where: str) -> Experiment:
    """The experiment with a fault in its optimizer at the second step, the last one being told apart by its count."""
    optimizer = experiment.optimizer

    def update(gradients: Any, state: Any, params: Any) -> Any:
        count = optax.tree_utils.tree_get(state, "count", filtering=lambda path, value: "ScaleByAdam" in str(path))
        updates, state = optimizer.update(gradients, state, params)
        bad = jnp.where(count == 1, jnp.inf if where == "update" else jnp.nan, 0.0)
        if where == "update":
            first, *rest = jax.tree.leaves(updates)
            updates = jax.tree.unflatten(jax.tree.structure(updates), [first + bad, *rest])
        else:
            state = jax.tree.map(lambda leaf: leaf + bad if leaf.dtype == jnp.float32 else leaf, state)
        return updates, state

    return dataclasses.replace(experiment, optimizer=optax.GradientTransformation(optimizer.init, update))


def with_nan(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch with one row of the table missing, though the config says that no value is."""
    table = batch["table"].copy()
    table[3] = np.nan
    return {**batch, "table": table}


SCALES = {
    "one device": (1, []),
    "eight devices": (8, []),
    "in slices, with a model axis": (4, ["micro_batch=32", "mesh.model=2", "mesh.shard_above=32"]),
}


@pytest.mark.parametrize(
    ("method", "scale"),
    [
        *(("digits_mmcl", scale) for scale in SCALES),
        ("mmcl/byol:digits", "one device"),
        ("mmcl/nnclr:digits", "in slices, with a model axis"),
    ],
)
def test_a_batch_that_is_not_finite_changes_only_the_step(method: str, scale: str, tiny_config) -> None:
    """Parameters, moments, normalisation statistics, target network and queue stay to the bit; the next step trains."""
    devices, overrides = SCALES[scale]
    if method != "digits_mmcl":
        overrides = [*overrides, "projectors.image.hidden=(8,)"]
    config = tiny_config(method, *overrides)
    experiment = build_experiment(config, Store.open(config.data), jax.devices()[:devices])
    tabular = "table" in experiment.batches.arrays
    compiled, state, constants = prepared(experiment if tabular else poisoned(experiment, "update"))
    sharding = by_example(experiment.mesh)
    good, bad = experiment.batches[0], experiment.batches[1]
    state, metrics = compiled(state, put(good, sharding), constants)
    assert not metrics["skipped"]
    before = jax.device_get(state)
    state, metrics = compiled(state, put(with_nan(bad) if tabular else bad, sharding), constants)
    after = jax.device_get(state)
    assert metrics["skipped"]
    assert int(after.step) == int(before.step) + 1
    for field in ("params", "model_state", "target", "queues"):
        assert bits(getattr(after, field)) == bits(getattr(before, field)), field
    for moment in ("mu", "nu"):
        pair = [optax.tree_utils.tree_get(one.optimizer_state, moment) for one in (after, before)]
        assert bits(pair[0]) == bits(pair[1])
    if tabular:
        state, metrics = compiled(state, put(bad, sharding), constants)
        assert not metrics["skipped"]
        assert bits(jax.device_get(state.params)) != bits(before.params)


@pytest.mark.parametrize("where", ["update", "moments"])
def test_what_the_optimizer_makes_counts_though_loss_and_gradient_are_finite(where: str, tiny_config) -> None:
    config = tiny_config("digits_simclr")
    experiment = poisoned(build_experiment(config, Store.open(config.data), jax.devices()[:1]), where)
    compiled, state, constants = prepared(experiment)
    skipped = []
    for index in range(3):
        before = bits(jax.device_get(state.params))
        state, metrics = compiled(state, put(experiment.batches[index], by_example(experiment.mesh)), constants)
        assert np.isfinite(metrics["loss"])
        assert np.isfinite(metrics["gradient_norm"])
        skipped.append(bool(metrics["skipped"]))
        assert (bits(jax.device_get(state.params)) == before) == skipped[-1]
    assert skipped == [False, True, True]  # Adam's count stays too, so the fault comes again


@pytest.mark.core
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_in_any_array_is_found(value: float, tiny_config) -> None:
    config = tiny_config("digits_mmcl")
    state = build_experiment(config, Store.open(config.data), jax.devices()[:1]).init(jnp.uint32(0))
    assert bool(all_finite(state))
    leaves, structure = jax.tree.flatten(state)
    found = jax.jit(all_finite)
    for place, leaf in enumerate(leaves):
        if leaf.dtype == jnp.float32:
            spoiled = leaf.reshape(-1).at[-1].set(value).reshape(leaf.shape)
            assert not found(jax.tree.unflatten(structure, [*leaves[:place], spoiled, *leaves[place + 1 :]]))


def spoil(monkeypatch: pytest.MonkeyPatch, config: ConfigDict, steps: set[int]) -> None:
    """Puts NaN into the table rows of the batches of these steps, however often they are drawn."""
    batches = build_experiment(config, Store.open(config.data), jax.devices()[:1]).batches
    spoiled = {tuple(np.asarray(batches.arrays["id"])[batches.rows_of(step - 1)]) for step in steps}
    real = loop.put

    def put(batch, sharding):
        return real(with_nan(batch) if tuple(batch["id"]) in spoiled else batch, sharding)

    monkeypatch.setattr(loop, "put", put)


@pytest.mark.parametrize("log_every", [1, 7])
def test_skipped_steps_are_counted_and_their_examples_written_down(
    log_every: int, tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is logged: the exact steps are known. The rate follows the step, not the number of updates."""
    config = tiny_config("digits_mmcl", f"log_every={log_every}", "checkpoint_every=5")
    spoil(monkeypatch, config, {4, 5, 11, 18})
    said: list[str] = []
    result = pretrain(config, tmp_path / "run", log=said.append)
    assert result.step == 18
    assert result.skipped == 4
    assert "4 of them skipped" in result.describe()
    assert [line for line in said if "step 4 was skipped" in line]
    lines = [json.loads(line) for line in (tmp_path / "run" / SKIPPED_STEPS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 5, 11, 18]
    batches, store = build_experiment(config, Store.open(config.data)).batches, Store.open(config.data)
    keys = np.array(store.keys("train"))
    for line in lines:
        assert line["ids"] == batches[line["step"] - 1]["id"].tolist()
        assert line["keys"] == keys[batches.rows_of(line["step"] - 1)].tolist()
    logged = read_metrics(tmp_path / "run")
    assert [line["skipped"] for line in logged if line["step"] >= 18] == [4]
    written = [parse(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]  # strict JSON
    assert [line["step"] for line in written if line["loss"] == "NaN"]
    assert [math.isnan(line["loss"]) for line in logged] == [line["loss"] == "NaN" for line in written]
    position = optax.tree_utils.tree_get(
        result.state.optimizer_state, "count", filtering=lambda path, value: "ScaleBySchedule" in str(path)
    )
    assert int(position) == 18
    assert bool(all_finite(result.state))


def test_a_run_with_skips_that_is_stopped_ends_with_the_same_bits(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config("digits_mmcl", "log_every=3")
    spoil(monkeypatch, config, {4, 5, 11, 18})
    whole = pretrain(config, tmp_path / "whole", log=quiet)
    for step in (5, 7):  # of this sitting: between skips in a row, and behind them
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            assert pretrain(config, tmp_path / "stopped", log=quiet).step < 18
    continued = pretrain(config, tmp_path / "stopped", log=quiet)
    assert bits(continued.state) == bits(whole.state)
    assert continued.skipped == 4
    np.testing.assert_array_equal(losses(tmp_path / "stopped"), losses(tmp_path / "whole"))
    texts = [(tmp_path / name / SKIPPED_STEPS).read_text() for name in ("stopped", "whole")]
    assert texts[0] == texts[1]


def test_so_many_in_a_row_end_the_run_and_what_was_saved_is_finite(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command stops at the same step, whatever was saved in between; the way out that it names works."""
    config = tiny_config("digits_mmcl", "skip_nonfinite=3", "checkpoint_every=4", "log_every=100")
    spoil(monkeypatch, config, {2, 3, 9, 10, 11})
    run = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(UserError, match=r"in 3 steps in a row, up to step 11: look at .*skipped.jsonl; .*latest"):
            pretrain(config, run, log=quiet)
        assert steps_of(run / "checkpoints")[:1] == [8]
    assert [json.loads(line)["step"] for line in (run / SKIPPED_STEPS).read_text().splitlines()] == [2, 3, 9, 10, 11]
    config.skip_nonfinite = 4
    result = pretrain(config, run, log=quiet)
    assert result.step == 18
    assert bool(all_finite(result.state))


def test_a_checkpoint_of_weights_that_are_not_finite_is_passed_over(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version saved them: it looked at the loss alone, at logged steps."""
    config = tiny_config("digits_simclr", "checkpoint_every=6")
    whole = pretrain(config, tmp_path / "whole", log=quiet)
    real = loop.Checkpoints.save

    def save(self, step, state, **rest):
        if step == 12:
            state = dataclasses.replace(state, params=jax.tree.map(lambda leaf: leaf * jnp.nan, state.params))
        real(self, step, state, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoints, "save", save)
        stop_at(patch, 12)
        assert pretrain(config, tmp_path / "run", log=quiet).step == 12
    said: list[str] = []
    result = pretrain(config, tmp_path / "run", log=said.append)
    assert any("checkpoint of step 12 cannot be used: it holds numbers that are not finite" in line for line in said)
    assert any("continuing" in line and "at step 6 of 18" in line for line in said)
    assert bits(result.state) == bits(whole.state)
    assert steps_of(tmp_path / "run" / "damaged") == [12]
    assert steps_of(tmp_path / "run" / "checkpoints") == [18, 12]


def test_the_check_of_all_numbers_grows_with_their_arrays_and_not_with_the_square() -> None:
    """XLA for CPUs would compute the conjunction of all flags again in every choice of a new array."""
    optimizer = optax.adam(1e-3)

    def step(params: list[jax.Array], moments: Any, gradients: list[jax.Array]) -> Any:
        def updated(gradients: list[jax.Array]) -> Any:
            updates, new = optimizer.update(gradients, moments, params)
            return optax.apply_updates(params, updates), new

        finite = all_finite((updated(gradients), sum(jnp.sum(gradient) for gradient in gradients)))
        gradients, chosen = jax.lax.optimization_barrier((gradients, finite))
        return jax.tree.map(
            lambda new, old: jnp.where(chosen, new, old), updated(gradients), (params, moments)
        ), ~finite

    params = [jax.ShapeDtypeStruct((8, 8), jnp.float32)] * 12
    with jax.numpy_dtype_promotion("standard"):
        text = jax.jit(step).lower(params, jax.eval_shape(optimizer.init, params), params).compile().as_text()
    assert text.count(" and(") < 12 * len(params)
