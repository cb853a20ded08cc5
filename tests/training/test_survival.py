"""One run that meets every trouble in turn: each session ends with one sentence, and the last with the same bits."""

import dataclasses
import itertools
import json
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.training import loop
from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import Result, pretrain
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run
from tests.training.test_loop import bits, losses, quiet

STEPS = 12
DAY = 86_400


@pytest.fixture(scope="module")
def store(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store, which is damaged and mended."""
    return Path(shutil.copytree(digits_store.directory, tmp_path_factory.mktemp("stores") / "digits"))


@pytest.fixture(scope="module")
def config(store: Path) -> ConfigDict:
    """A training of 12 steps that saves every third and validates after six."""
    return load(
        "digits_simclr",
        [f"data={store}", "batch_size=200", "batch_norm.group_size=8", "epochs=2", "schedule.warmup_epochs=0",
         "encoders.image.channels=(4, 8)", "projectors.image.hidden=8", "log_every=1", "checkpoint_every=3",
         "validation.epochs=1", "monitor.epochs=None"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return pretrain(config, tmp_path_factory.mktemp("runs") / "whole", log=quiet)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, what: Callable[[], object]) -> None:
    """Do something while the batch of this step is drawn, counted in the session."""
    real, drawn = loop.put, itertools.count(1)

    def put(batch, sharding):
        if next(drawn) == step:
            what()
        return real(batch, sharding)

    monkeypatch.setattr(loop, "put", put)


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Limits the size of every file that this process writes, until the end of the test: its disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# A save that fails leaves tasks in Orbax's event loop, which complain when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_meets_every_trouble_ends_with_the_same_bits(
    config: ConfigDict,
    whole: Result,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file_limit: Callable[[int], None],
) -> None:
    run = tmp_path / "run"
    real_save = Checkpoints.save

    # SIGTERM while a checkpoint is being saved, twice, as schedulers repeat it.
    def save_and_signal(self: Checkpoints, *arguments, **named) -> None:
        real_save(self, *arguments, **named)
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_signal)
        stopped = pretrain(config, run, log=quiet)
    assert stopped.step == 4  # the step behind the save
    assert Run.open(run).latest_step() == 4

    # The store changes under the training.
    image, copy = store / "flat" / "image.npy", tmp_path / "image.npy"
    shutil.copy2(image, copy)

    def write() -> None:
        with image.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x07")

    with monkeypatch.context() as patch:
        at_step(patch, 2, write)
        with pytest.raises(UserError, match=r"image.npy has changed while it was read.*continues from step 4;"):
            pretrain(config, run, log=quiet)
    shutil.copy2(copy, image)
    assert Run.open(run).latest_step() == 4

    # The clock goes back by a day, and the disk is full at the last save, which runs in the background.
    def save_on_a_full_disk(self: Checkpoints, step: int, *arguments, **named) -> None:
        if step == STEPS:
            file_limit(1_000)  # its metrics are written
        real_save(self, step, *arguments, **named)

    path = tmp_path / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )
    command = ["pretrain", "--config", str(path), "--workdir", str(run)]
    clock = time.time
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: patch.setattr(time, "time", lambda: clock() - DAY))
        patch.setattr(Checkpoints, "save", save_on_a_full_disk)
        assert main(command) == 2
        file_limit(-1)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    sentence = error.splitlines()[-1]
    assert sentence.startswith(f"mmcl pretrain: {run}")
    assert sentence.endswith("what was saved remains, and the same command continues.")
    assert Run.open(run).latest_step() == 9
    assert json.loads((run / "status.json").read_text())["state"] == "failed"
    last = pretrain(config, run, log=quiet)
    assert bits(last.state) == bits(whole.state)
    assert losses(run) == losses(whole.run.directory)
    seconds = [line["seconds"] for line in read_metrics(run)]
    assert seconds == sorted(seconds)
    assert min(value for name, value in dataclasses.asdict(last.times)["seconds"].items()) >= 0
