"""Validation passes: what they measure, what they steer, and that a kill between any two moments changes nothing."""

import contextlib
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmcl_jax.cli.main import main
from mmcl_jax.config import load, schedule
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import Result, pretrain
from mmcl_jax.training.mesh import placed
from mmcl_jax.training.runs.checkpoint import Checkpoints, steps_of
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.skips import Skipped
from mmcl_jax.training.state.control import first_control
from mmcl_jax.training.state.train_state import TrainState, split_model
from mmcl_jax.training.step.validation_pass import ValidationPass
from tests.training.test_loop import bits, quiet

PASSES, STEPS = 3, 18  # passes, and steps between two of them


def config_of(store: Store) -> ConfigDict:
    """Averages, a frozen encoder, a plateau and a pass per epoch: everything at once, one compiled step for all."""
    config = load(
        "digits_mmcl",
        [
            f"data={store.directory}", "batch_size=64", f"epochs={PASSES}", "schedule.warmup_epochs=0",
            "batch_norm.group_size=8", "encoders.image.channels=(4, 8)", "projectors.image.hidden=8",
            "encoders.table.hidden=16", "encoders.table.features=8", "projectors.table.hidden=8",
            "frozen=('encoders.image.*',)", "rates.projectors.*=0.5", "average.kind=ema", "average.decay=0.9",
            "validation.epochs=1", "checkpoint_every=9", "log_every=9", "monitor.epochs=None",
        ],
    )  # fmt: skip
    config.schedule = schedule("plateau", learning_rate=0.01, patience=0, threshold=0.1)
    return config


def train(config: ConfigDict, workdir: Path) -> Result:
    return pretrain(config, workdir, devices=jax.devices()[:1], log=quiet)


@pytest.fixture(scope="module")
def whole(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train(config_of(digits_store), tmp_path_factory.mktemp("validation") / "run")


def passes(directory: Path) -> dict[int, float]:
    lines = read_metrics(directory)
    return {int(line["step"]): line["validation/loss"] for line in lines if "validation/loss" in line}


def test_passes_are_logged_and_steer_the_rate(whole: Result) -> None:
    losses = passes(whole.run.directory)
    assert sorted(losses) == [STEPS * (index + 1) for index in range(PASSES)]
    best = min(losses, key=losses.__getitem__)
    assert whole.best == best
    assert f"the lowest validation loss at step {best}" in whole.describe()
    control = jax.device_get(whole.state.control)
    assert float(control["best"]["loss"]) == np.float32(losses[best])
    expected, reference, factor = [], math.inf, 1.0
    for loss in losses.values():
        if loss < reference * 0.9:
            reference = loss
        else:
            factor *= 0.5
        expected.append(factor)
    assert factor < 1
    rates = {line["step"]: line["learning_rate"] for line in read_metrics(whole.run.directory)}
    assert [rates[STEPS * (index + 1) + 9] for index in range(PASSES - 1)] == pytest.approx(
        [0.01 * factor for factor in expected[:-1]]
    )


def test_frozen_parameters_and_averages(whole: Result) -> None:
    experiment = build_experiment(whole.run.config, Store.open(whole.run.config.data), jax.devices()[:1])
    first = jax.jit(experiment.init)(np.uint32(whole.run.config.seed))
    assert set(whole.state.frozen["encoders"]) == {"image"}
    assert set(whole.state.params["encoders"]) == {"table"}
    assert bits(whole.state.frozen) == bits(first.frozen)
    moments = jax.tree.map(np.shape, whole.state.optimizer_state[1].mu)
    assert moments == jax.tree.map(np.shape, whole.state.params)
    assert bits(whole.state.params) != bits(first.params)
    params, model_state = whole.state.weights()
    assert bits(params["encoders"]["image"]) == bits(whole.state.frozen["encoders"]["image"])
    assert bits(model_state) == bits(whole.state.average["model_state"])
    assert bits(params["encoders"]["table"]) != bits(whole.state.params["encoders"]["table"])


def test_the_model_of_a_run_is_the_average(whole: Result) -> None:
    found = split_model(whole.run.model())
    jax.tree.map(np.testing.assert_array_equal, found, jax.device_get(whole.state.weights()))


def test_best_latest_and_steps_can_be_loaded(whole: Result) -> None:
    there = steps_of(whole.run.checkpoints)
    assert there[:2] == [STEPS * PASSES, STEPS * PASSES - 9]
    assert set(there) <= {*there[:2], whole.best}
    assert whole.run.at("best").step() == whole.best
    assert whole.run.step() == whole.run.latest_step() == STEPS * PASSES
    assert whole.run.at(there[1]).step() == there[1]
    with pytest.raises(UserError, match=r"has no checkpoint of step 5; it has those of"):
        whole.run.at(5).step()


def test_evaluate_takes_a_checkpoint(whole: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--run", str(whole.run.directory), "--protocol", "knn", "--seeds", "1", "--baselines", ""]
    words += ["--out", str(tmp_path / "scores.json"), "--checkpoint"]
    assert main([*words, "best"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["runs"] == {str(whole.run.directory): whole.best}
    assert main([*words, "5"]) == 2
    assert f"{whole.run.directory} has no checkpoint of step 5; it has those of" in capsys.readouterr().err


def test_without_validation_there_is_no_best_checkpoint(whole: Result, tiny_config) -> None:
    run = dataclasses.replace(whole.run, config=tiny_config("digits_simclr"))
    with pytest.raises(UserError, match=r"was trained without validation \(config.validation.epochs\), so it has no"):
        run.at("best").step()


def test_a_pass_is_the_same_on_two_devices_and_in_slices(whole: Result, digits_store: Store, tmp_path: Path) -> None:
    config = config_of(digits_store)
    config.epochs, config.micro_batch = 1, 32
    pretrain(config, tmp_path / "run", devices=jax.devices()[:2], log=quiet)
    found, expected = passes(tmp_path / "run"), passes(whole.run.directory)
    assert found[STEPS] == pytest.approx(expected[STEPS], rel=1e-4)


def test_padding_counts_nowhere_and_rows_alike(digits_store: Store) -> None:
    """The loss of a term that has a value for each row is the same in batches of any size."""
    losses = []
    for size in (64, 48):
        config = load(
            "mmcl/supervised_image:digits",
            [
                f"data={digits_store.directory}", f"batch_size={size}", "validation.epochs=1",
                "batch_norm.group_size=8", "encoders.image.channels=(4, 8)",
            ],
        )  # fmt: skip
        experiment = build_experiment(config, Store.open(config.data), jax.devices()[:1])
        state, constants = experiment.init(np.uint32(0)), jax.tree.map(jnp.asarray, experiment.constants())
        looking = ValidationPass(experiment, experiment.validation, state, constants)
        assert experiment.validation.rows % size
        losses.append(looking.at(experiment.batches.steps_per_epoch, state)[1]["validation/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_the_best_and_every_so_many_checkpoints_are_kept(tmp_path: Path) -> None:
    """Saved in two sittings, with the lowest loss at step 3, then at 7."""
    control = first_control(None)
    for sitting in (range(1, 7), range(7, 10)):
        checkpoints = Checkpoints(tmp_path, keep=2, every=5)
        for step in sitting:
            control["best"]["step"] = jnp.int32(3 if 3 <= step < 7 else min(step, 7))
            array = {"array": jnp.full(2, step, jnp.float32)}
            state = TrainState(
                step=jnp.int32(step), params=array, model_state={}, optimizer_state=(), target={}, queues={},
                control=control,
            )  # fmt: skip
            checkpoints.save(step, state, data={"next_index": step}, seconds=0.0, skipped=Skipped())
        checkpoints.close()
        assert steps_of(tmp_path) == ([6, 5, 3] if 6 in sitting else [9, 8, 7, 5])
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        restored = checkpoints.restore(7, placed(state, jax.sharding.SingleDeviceSharding(jax.devices()[0]))).state
    assert bits(restored.params) == bits({"array": np.full(2, 7, np.float32)})
    assert int(restored.control["best"]["step"]) == 7


KILLER = """
import os, signal, sys
from pathlib import Path
from mmcl_jax.training import loop
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.mesh import placed
from mmcl_jax.training.runs.plain import from_plain
import contextlib
import dataclasses
import json
real = Checkpoints.save
def save(self, step, *rest, **named):
    if step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, step, *rest, **named)
Checkpoints.save = save
loop.pretrain(from_plain(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
"""


def test_a_run_killed_between_a_pass_and_its_checkpoint_ends_with_the_same_bits(
    whole: Result, digits_store: Store, tmp_path: Path
) -> None:
    """The log has the pass already, and no checkpoint does: the steps and the pass are done again."""
    config, run = config_of(digits_store), tmp_path / "run"
    (tmp_path / "config.json").write_text(json.dumps(to_plain(config)))
    command = [sys.executable, "-c", KILLER, str(tmp_path / "config.json"), str(run), str(2 * STEPS)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ.copy())
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 2 * STEPS in passes(run)
    assert steps_of(run / "checkpoints")[0] < 2 * STEPS
    continued = train(config, run)
    assert continued.best == whole.best
    assert bits(continued.state) == bits(whole.state)
    assert passes(run) == passes(whole.run.directory)


def test_patience_ends_the_run_and_more_patience_continues_it(
    whole: Result, digits_store: Store, tmp_path: Path
) -> None:
    """It stops at the pass that `whole` shows, and the same command stops again; with more, it ends like `whole`."""
    config = config_of(digits_store)
    config.stop.patience, config.stop.min_delta = 1, 10.0  # no loss is that much better than the first
    first = train(config, tmp_path / "run")
    assert first.step == 2 * STEPS
    assert first.exhausted
    assert first.finished
    assert f"36 steps of {STEPS * PASSES}, since the validation loss stopped falling," in first.describe()
    again = train(config, tmp_path / "run")
    assert again.step == 2 * STEPS
    assert again.finished
    config.stop.patience = None
    last = train(config, tmp_path / "run")
    assert last.step == STEPS * PASSES
    assert bits(last.state.params) == bits(whole.state.params)
    assert passes(tmp_path / "run") == passes(whole.run.directory)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["stop.patience=3"], "config.stop.patience: 3 counts validation passes, and config.validation.epochs=None"),
        (["schedule.name=plateau"], "config.schedule.name: 'plateau' waits for validation passes, and config.valida"),
        (
            ["validation.epochs=2"],
            "config.validation.epochs: 2 is more than config.epochs, which is 1, so that no pass",
        ),
        (["frozen=('encoders.images.*',)"], "config.frozen: 'encoders.images.*' matches no parameter; the nearest are"),
        (["frozen=('*',)"], "config.frozen: all parameters are frozen"),
        (["frozen='encoders.image'"], "config.frozen: 'encoders.image' is not of type tuple"),
        (["rates.encoder.*=2"], "config.rates: 'encoder.*' matches no parameter; the nearest are encoders"),
        (
            ["rates.encoders.*=0"],
            "must have positive numbers by path pattern, such as {'encoders.table.*': 0.1}",
        ),
        (
            ["frozen=('encoders',)", "rates.encoders.image.*=2"],
            "config.rates: all that 'encoders.image.*' matches is frozen",
        ),
        (["rates.encoders.*=2", "rates.*.image.*=3"], "matches both '*.image.*' and 'encoders.*'; change one pattern"),
        (["average.kind=ema", "average.start=1"], "config.average.start: 1 is not below config.epochs, which is 1, so"),
        (["average.kind=swa"], "config.average.kind: 'swa' must be ema, mean or None"),
        (["schedule.name=one_cycle", "optimizer.b1=0.8"], "config.optimizer.b1: the schedule 'one_cycle' changes b1"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], sentence: str, tiny_config) -> None:
    config = tiny_config("digits_simclr")
    config = load("digits_simclr", [f"data={config.data}", "epochs=1", "schedule.warmup_epochs=0", *overrides])
    with pytest.raises(UserError, match=re.escape(sentence)):
        build_experiment(config, Store.open(config.data), jax.devices()[:1])
