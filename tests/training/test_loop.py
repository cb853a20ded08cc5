"""Training: the same on any number of devices, the same bits however often it is stopped."""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
from ml_collections import ConfigDict

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training import loop
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.step.train_step import compile_step, make_step


def bits(state: object) -> str:
    """A hash of every array of a train state."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def losses(workdir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(workdir)]


def compiled(config: ConfigDict) -> Any:
    """The compiled step of an experiment on all devices."""
    experiment = build_experiment(config, Store.open(config.data))
    return compile_step(make_step(experiment), *experiment.shapes(), dtype=config.dtype)


def quiet(line: str) -> None:
    """Drops what training says."""


def test_arrays_are_read_outside_of_the_guard_of_the_step(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU refuses to be read under the guard; a CPU, whose arrays the host can read anyway, does not tell."""
    levels: list[str] = []
    read: set[str] = set()
    real = jax.transfer_guard

    @contextlib.contextmanager
    def guard(level: str) -> Iterator[None]:
        levels.append(level)
        with real(level):
            yield
        levels.pop()

    def outside(name: str, function: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            assert "disallow" not in levels, name
            read.add(name)
            return function(*arguments, **options)

        return wrapped

    monkeypatch.setattr(jax, "transfer_guard", guard)
    monkeypatch.setattr(jax, "device_get", outside("device_get", jax.device_get))
    monkeypatch.setattr(loop.SkippedSteps, "note", outside("note", loop.SkippedSteps.note))
    monkeypatch.setattr(loop.Checkpoints, "save", outside("save", loop.Checkpoints.save))
    pretrain(tiny_config("digits_simclr", "checkpoint_every=6"), tmp_path / "run", log=quiet)
    assert read == {"device_get", "note", "save"}


@pytest.mark.parametrize("name", [pytest.param("digits_mmcl", marks=pytest.mark.core), "digits_simclr"])
def test_the_number_of_devices_changes_nothing(name: str, tiny_config, tmp_path: Path) -> None:
    curves = {}
    for devices in (1, 2, 8):
        workdir = tmp_path / str(devices)
        pretrain(tiny_config(name), workdir, devices=jax.devices()[:devices], log=quiet)
        curves[devices] = losses(workdir)
    assert len(curves[1]) == 18
    assert curves[1][-1] < curves[1][0]
    np.testing.assert_allclose(curves[2], curves[1], rtol=1e-5)
    np.testing.assert_allclose(curves[8], curves[1], rtol=1e-5)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Makes the process send itself SIGTERM while it draws the batch of this step."""
    real = loop.put
    drawn = iter(range(1, 10**6))

    def put(batch, sharding):
        if next(drawn) == step:
            signal.raise_signal(signal.SIGTERM)
        return real(batch, sharding)

    monkeypatch.setattr(loop, "put", put)


@pytest.mark.core
def test_a_stopped_run_ends_with_the_same_bits(tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config("digits_mmcl")
    whole = pretrain(config, tmp_path / "whole", log=quiet)
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        stopped = pretrain(config, tmp_path / "stopped", log=quiet)
    assert stopped.step == 7
    assert "the same command continues" in stopped.describe()
    said: list[str] = []
    continued = pretrain(config, tmp_path / "stopped", log=said.append)
    assert any("at step 7 of 18" in line for line in said)
    assert bits(continued.state) == bits(whole.state)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    again = pretrain(config, tmp_path / "stopped", log=quiet)
    assert bits(again.state) == bits(whole.state)


def test_a_run_moves_between_numbers_of_devices(tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config("digits_mmcl")
    pretrain(config, tmp_path / "one", devices=jax.devices()[:1], log=quiet)
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        pretrain(config, tmp_path / "moved", devices=jax.devices()[:8], log=quiet)
    pretrain(config, tmp_path / "moved", devices=jax.devices()[:2], log=quiet)
    np.testing.assert_allclose(losses(tmp_path / "moved"), losses(tmp_path / "one"), rtol=1e-5)


def test_a_killed_process_ends_with_the_same_bits(tiny_config, tmp_path: Path) -> None:
    """SIGKILL at several moments of one run, saving every second step; the last process finishes it."""
    config = tiny_config("digits_mmcl", "epochs=4", "checkpoint_every=2")
    path = tmp_path / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )

    def start(workdir: Path) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-P",
            "-m",
            "mmcl_jax.cli.main",
            "pretrain",
            "--config",
            str(path),
            "--workdir",
            str(workdir),
        ]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ.copy()
        )

    whole = start(tmp_path / "whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output

    killed = tmp_path / "killed"
    steps = 18 * 4
    for reach in (5, 23, 50):
        process = start(killed)
        deadline = time.monotonic() + 300
        while process.poll() is None and len(read_metrics(killed)) < reach and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    last = start(killed)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert "continuing" in output

    ends = [pretrain(config, tmp_path / name, log=quiet) for name in ("whole", "killed")]  # complete: only loads
    assert [end.step for end in ends] == [steps, steps]
    assert bits(ends[0].state) == bits(ends[1].state)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [line["step"] for line in read_metrics(killed)] == list(range(1, steps + 1))


def test_another_experiment_in_the_workdir_is_refused(tiny_config, tmp_path: Path) -> None:
    pretrain(tiny_config("digits_simclr"), tmp_path / "run", log=quiet)
    with pytest.raises(UserError, match=r"holds another experiment: config.batch_size is 64 there and 32 here"):
        pretrain(tiny_config("digits_simclr", "batch_size=32"), tmp_path / "run")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("text")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        pretrain(tiny_config("digits_simclr"), tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_a_workdir_that_was_killed_at_birth_is_begun_again(tiny_config, tmp_path: Path) -> None:
    (tmp_path / ".run.partial").mkdir()
    (tmp_path / ".run.partial" / "config.json").write_text("{")
    (tmp_path / "run").mkdir()  # an empty folder will do
    assert pretrain(tiny_config("digits_simclr"), tmp_path / "run", log=quiet).step == 18
    assert not (tmp_path / ".run.partial").exists()


def test_streamed_images_train_to_the_same_bits(tiny_config, tmp_path: Path) -> None:
    ends = [
        pretrain(tiny_config("digits_mmcl", f"loader.images={how}"), tmp_path / how, log=quiet).state
        for how in ("mapped", "streamed")
    ]
    assert bits(ends[0]) == bits(ends[1])


@pytest.mark.parametrize("term", ["barlow_twins", "vicreg"])
def test_terms_of_moments_train_alike_on_any_number_of_devices(term: str, tiny_config, tmp_path: Path) -> None:
    projector = ["projectors.image.name=mlp_norm", "projectors.image.hidden=(16,)", "projectors.image.out=16"]
    curves = []
    for devices in (1, 8):
        config = tiny_config("digits_simclr", f"objective.0.name={term}", *projector)
        pretrain(config, tmp_path / str(devices), devices=jax.devices()[:devices], log=quiet)
        curves.append(losses(tmp_path / str(devices)))
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)


def test_terms_that_need_labels(raw: Request, tiny_config, tmp_path: Path) -> None:
    labels = ["objective.0.labels=attract", "epochs=2"]
    assert pretrain(tiny_config("digits_mmcl", *labels), tmp_path / "run", log=quiet).step == 36
    curve = losses(tmp_path / "run")
    assert curve[-1] < curve[0]
    store = prepare(dataclasses.replace(raw, label=(), ignore=("model",)), tmp_path / "store")
    with pytest.raises(UserError, match=r"config.objective.0: this term needs labels; prepare the store with --label"):
        pretrain(tiny_config("digits_mmcl", *labels, f"data={store.directory}", "batch_size=16"), tmp_path / "other")


def test_images_alone_do_not_mind_missing_table_values(raw: Request, tmp_path: Path, tiny_config) -> None:
    table = pl.read_csv(raw.table).with_columns(price=pl.Series([None if i % 4 == 0 else 2.5 * i for i in range(40)]))
    table.write_csv(raw.table)
    store = prepare(raw, tmp_path / "store")
    small = [f"data={store.directory}", "batch_size=16"]
    assert pretrain(tiny_config("digits_simclr", *small), tmp_path / "simclr", log=quiet).step == 1
    with pytest.raises(UserError, match=r"'price' has \d missing values"):
        pretrain(tiny_config("digits_mmcl", *small), tmp_path / "mmcl")
    filled = pretrain(tiny_config("digits_mmcl", *small, "inputs.table.missing=mean"), tmp_path / "mmcl", log=quiet)
    assert filled.step == 1


@pytest.mark.core
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("batch_size=1208", "config.batch_size: 1208 is larger than the training split, which has 1200 rows"),
        ("batch_size=0", "config.batch_size: 0 must be positive"),
        ("batch_size=2.5", "config.batch_size: 2.5 is not of type int"),
        ("batch_norm.group_size=7", "config.batch_norm.group_size: 7 does not divide config.batch_size"),
        ("dtype=float16", "config.dtype: 'float16' must be float32 or bfloat16"),
        ("encoders.image.channels=5", r"config.encoders.image.channels: 5 is not of type tuple\[int, ...\]"),
        ("views.table.rate=2", r"config.views.table: rate must lie in \[0, 1\]"),
        ("objective.0.temperature=-1", "config.objective.0: temperature must be positive"),
        ("objective.0.between=('image','x')", "there is no view 'x'"),
        (
            "views.table.modality=genes",
            "config.views.table.modality: there is no input 'genes'; choose from image, table",
        ),
        ("data=nowhere", "nowhere is not a store"),
        ("projectors.image.out=5", "do not fit together: "),
        ("encoders.table.name=cnn", "choose another encoder"),
        (
            "views.image.name=rows",
            "config.views.image: the view 'rows' takes the kind table, and the input 'image' is of the kind image",
        ),
    ],
)
def test_bad_configs_are_refused_before_anything_is_written(
    override: str, sentence: str, tiny_config, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        pretrain(tiny_config("digits_mmcl", override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_run(tiny_config, tmp_path: Path) -> None:
    config = tiny_config("digits_simclr", "schedule.learning_rate=1e30", "optimizer.weight_decay=1e30")
    with pytest.raises(UserError, match=r"not finite in 10 steps in a row, up to step \d+: look at"):
        pretrain(config, tmp_path / "run", log=quiet)


def test_bfloat16_trains_float32_parameters(tiny_config, tmp_path: Path) -> None:
    result = pretrain(tiny_config("digits_mmcl", "dtype=bfloat16"), tmp_path / "run", log=quiet)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(result.state.params)} == {"float32"}
    curve = losses(tmp_path / "run")
    assert curve[-1] < curve[0]


def test_global_batch_norm_is_an_option(tiny_config, tmp_path: Path) -> None:
    config = tiny_config("digits_simclr", "batch_norm.group_size=None")
    curves = []
    for devices in (1, 8):
        pretrain(config, tmp_path / str(devices), devices=jax.devices()[:devices], log=quiet)
        curves.append(losses(tmp_path / str(devices)))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


def test_grouped_batch_norm_adds_no_collectives(tiny_config, eight_devices: None) -> None:
    """The collectives of the compiled step at 8 devices do not grow with the number of normalisation layers."""

    def collectives(group_size: int | None) -> int:
        text = compiled(tiny_config("digits_simclr", f"batch_norm.group_size={group_size}")).as_text()
        return sum(text.count(f" {name}(") for name in ("all-reduce", "all-gather", "reduce-scatter", "all-to-all"))

    grouped, whole = collectives(8), collectives(None)
    assert grouped < whole


def test_the_run_directory_says_what_was_done(tiny_config, tmp_path: Path) -> None:
    said: list[str] = []
    result = pretrain(tiny_config("digits_mmcl"), tmp_path / "run", log=said.append)
    assert any("per device: state and inputs" in line and "temporary" in line for line in said)
    assert any(" parameters: " in line and "encoders.image " in line for line in said)
    assert result.host_ms > 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["views"]["table"] == {"modality": "table", "name": "scarf", "population": None, "rate": 0.3}
    lines = read_metrics(tmp_path / "run")
    assert {"step", "loss", "learning_rate", "gradient_norm", "clip/image-table/top1", "seconds"} <= lines[0].keys()
    assert list((tmp_path / "run" / "events").glob("events.*"))
