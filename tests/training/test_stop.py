"""Asking to stop: SIGTERM at any moment of a command, once or again and again."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mmcl_jax as mj
from mmcl_jax.signals import ends_at_sigterm
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.stop import stop_on_signal

MMCL = [sys.executable, "-P", "-m", "mmcl_jax.cli.main"]


@pytest.mark.core
def test_signals_only_ask_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert signal.getsignal(signal.SIGTERM) is before  # until the loop begins, there is nothing to save
        stop.listen()
        assert not stop.requested
        for _ in range(3):  # schedulers repeat themselves
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):  # a person who presses Ctrl-C again wants out
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.core
def test_other_threads_cannot_handle_signals_and_do_not_try() -> None:
    requested: list[bool] = []

    def work() -> None:
        with ends_at_sigterm("pretrain", leaves=False), stop_on_signal() as stop:
            stop.listen()
            requested.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requested == [False]


@pytest.mark.core
def test_code_that_does_not_return_to_python_is_ended() -> None:
    """As XLA's compiler does not, while the scheduler waits to kill; here, a C function that is called again."""
    code = """
import ctypes
from mmcl_jax.signals import ends_at_sigterm
with ends_at_sigterm("evaluate", leaves=True):
    print("ready", flush=True)
    for _ in range(3):
        ctypes.CDLL(None).sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    assert process.returncode == os.EX_TEMPFAIL
    assert error == "mmcl evaluate: stopped; the same command continues.\n"


@pytest.mark.core
def test_the_handler_of_before_comes_back_and_a_process_that_leaves_ignores_the_signal() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ends_at_sigterm("evaluate", leaves=False):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    try:
        with ends_at_sigterm("evaluate", leaves=True):
            pass
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def config_file(tiny_config, tmp_path: Path) -> Path:
    """A small training of 54 steps that saves all the time, as a file."""
    config = tiny_config("digits_simclr", "epochs=3", "checkpoint_every=1")
    path = tmp_path / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )
    return path


@pytest.mark.parametrize("when", ["at once", "in the imports", "when the run is made", "between saves", "at the end"])
def test_a_training_ends_with_75_whenever_it_is_asked(when: str, config_file: Path, tmp_path: Path) -> None:
    """And never with -15 or 143, though it is asked again and again until it is gone."""
    run = tmp_path / "run"
    reached = {
        "at once": lambda: True,
        "in the imports": lambda: "jaxlib" in Path(f"/proc/{process.pid}/maps").read_text(),
        "when the run is made": lambda: (run / "config.json").is_file(),
        "between saves": lambda: (run / "checkpoints" / "2").is_dir(),
        "at the end": lambda: (run / "checkpoints" / "54").is_dir(),
    }[when]
    process = subprocess.Popen(
        [*MMCL, "pretrain", "--config", str(config_file), "--workdir", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    started = time.monotonic()
    while not handles_sigterm(process.pid) or not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - started < 240
        time.sleep(0.005)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    output, _ = process.communicate()
    assert process.returncode in ((0, os.EX_TEMPFAIL) if when == "at the end" else (os.EX_TEMPFAIL,)), output
    assert "Traceback" not in output
    if process.returncode:
        assert "the same command continues" in output
    if when in ("between saves", "at the end"):
        (row,) = mj.runs(run)
        # Asked behind its last step, a training that is complete ends with 75, too.
        assert row.state == ("finished" if row.step == 54 else "stopped")
        assert (row.step, row.steps, row.epochs_done) == (row.step, 54, (row.step or 0) / 18)


def handles_sigterm(pid: int) -> bool:
    """Whether the process has set a handler: before that, it is the interpreter that starts."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return True
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_prepare_that_is_stopped_continues(digits_raw, tmp_path: Path) -> None:
    """Workers and parent are asked at once, as schedulers do it."""
    out = tmp_path / "store"
    command = [
        *MMCL, "prepare", "--table", str(digits_raw.table), "--images", str(digits_raw.images),
        "--image-column", "file", "--label", "digit", "--out", str(out), "--workers", "2",
    ]  # fmt: skip
    journal = tmp_path / ".store.partial" / "flat" / "journal.jsonl"
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    while process.poll() is None and not (journal.is_file() and journal.read_text()):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == os.EX_TEMPFAIL, output
    assert "mmcl prepare: stopped; the same command continues." in output
    again = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
