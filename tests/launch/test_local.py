"""Two real processes of several devices: the same experiment, stopped, killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import psutil
import pytest
from ml_collections import ConfigDict

from mmcl_jax.training.log import read_metrics
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.plain import to_plain
from tests.training.test_loop import bits, losses, quiet, stop_at

LAUNCHER = Path(__file__).parents[2] / "launch" / "local.py"
STEPS = 18


def launch(config: Path, workdir: Path, *options: str, devices: int = 2) -> subprocess.Popen[str]:
    mmcl = [sys.executable, "-P", "-m", "mmcl_jax.cli.main", "pretrain"]
    command = [sys.executable, str(LAUNCHER), "--processes", "2", "--devices", str(devices), *options, "--", *mmcl]
    return subprocess.Popen(
        [*command, "--config", str(config), "--workdir", str(workdir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def written(config: ConfigDict, folder: Path) -> Path:
    path = folder / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )
    return path


def wait_for(process: subprocess.Popen[str], workdir: Path, step: int) -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None and len(read_metrics(workdir)) < step and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(read_metrics(workdir)) < STEPS, "the run was over before it could be disturbed"


def test_two_processes_train_as_one_and_survive_the_death_of_one(tiny_config, tmp_path: Path) -> None:
    config = tiny_config("digits_mmcl", "checkpoint_every=3", "mesh.model=2", "mesh.shard_above=64")
    path = written(config, tmp_path)
    whole = launch(path, tmp_path / "whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    lines = [line for line in output.splitlines() if "18 steps in" in line]
    assert len(lines) == 1, "only the first process speaks"
    assert lines[0].startswith("[0]")
    pretrain(tiny_config("digits_mmcl"), tmp_path / "one", devices=jax.devices()[:1], log=quiet)
    assert len(losses(tmp_path / "whole")) == STEPS
    np.testing.assert_allclose(losses(tmp_path / "whole"), losses(tmp_path / "one"), rtol=1e-5)

    killed = launch(path, tmp_path / "killed", "--restarts", "1")
    wait_for(killed, tmp_path / "killed", 5)
    second = next(
        child for child in psutil.Process(killed.pid).children() if child.environ().get("JAX_PROCESS_ID") == "1"
    )
    second.send_signal(signal.SIGKILL)
    wait_for(killed, tmp_path / "killed", 11)
    killed.send_signal(signal.SIGTERM)
    output, _ = killed.communicate(timeout=300)
    assert "a process ended with -9; starting all again" in output
    assert f"[0] mmcl pretrain: process 1 on {socket.gethostname()} is gone" in output
    assert killed.returncode == os.EX_TEMPFAIL, output
    assert "the same command continues" in output

    last = launch(path, tmp_path / "killed")
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert [line["step"] for line in read_metrics(tmp_path / "killed")] == list(range(1, STEPS + 1))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    four = jax.devices()[:4]
    ends = [pretrain(config, tmp_path / name, devices=four, log=quiet) for name in ("whole", "killed")]  # only loads
    assert bits(ends[0].state) == bits(ends[1].state)


def test_a_run_of_eight_devices_moves_to_two_processes_of_four(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config("digits_mmcl")
    pretrain(config, tmp_path / "whole", log=quiet)
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        pretrain(config, tmp_path / "moved", devices=jax.devices()[:8], log=quiet)
    assert len(losses(tmp_path / "moved")) == STEPS // 2
    moved = launch(written(config, tmp_path), tmp_path / "moved", devices=4)
    output, _ = moved.communicate(timeout=300)
    assert moved.returncode == 0, output
    assert len(losses(tmp_path / "moved")) == STEPS
    np.testing.assert_allclose(losses(tmp_path / "moved"), losses(tmp_path / "whole"), rtol=1e-5)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"JAX_PROCESS_ID": "0", "JAX_NUM_PROCESSES": "2"},
            "are set, but not JAX_COORDINATOR_ADDRESS; set all three, or none.",
        ),
        (
            {"JAX_PROCESS_ID": "2", "JAX_NUM_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": "localhost:1"},
            "JAX_PROCESS_ID is '2' and JAX_NUM_PROCESSES is '2': set both to whole numbers",
        ),
        ({}, "--distributed: no cluster was recognised"),
    ],
)
def test_a_job_that_is_none_is_refused(environment: dict[str, str], sentence: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "mmcl_jax.cli.main", "pretrain", "--distributed", "--config", "digits_mmcl"]
    ended = subprocess.run(
        [*command, "--workdir", str(tmp_path / "run")], env=os.environ | environment, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert not (tmp_path / "run").exists()


def test_no_process_outlives_a_launcher_that_is_killed() -> None:
    """It cannot end them: they would train on, and hold the work directory."""
    command = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
    launcher = subprocess.Popen(
        [sys.executable, str(LAUNCHER), "--processes", "2", "--", *command], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    assert {launcher.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
    children = psutil.Process(launcher.pid).children()
    assert len(children) == 2
    launcher.kill()
    launcher.communicate()
    _, alive = psutil.wait_procs(children, timeout=5)
    for process in alive:
        process.kill()
    assert alive == []
