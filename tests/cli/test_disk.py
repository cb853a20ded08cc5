"""Full disks, folders that may not be written and files that may not be read: one sentence, and nothing is lost."""

import ctypes
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

MMCL = [sys.executable, "-P", "-m", "mmcl_jax.cli.main"]


# Lets no file of a command grow beyond so many bytes: to the process, its disk is full.
LIMITED = "import os, resource, sys; size = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); "
LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"


@pytest.fixture
def pretrain(tiny_config, tmp_path: Path) -> list[str]:
    """The arguments of a training of 36 steps."""
    config, path = tiny_config("digits_simclr", "epochs=2", "checkpoint_every=3"), tmp_path / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )
    return ["pretrain", "--config", str(path), "--workdir", str(tmp_path / "run")]


def is_one_sentence(stderr: str, run: Path) -> None:
    last = stderr.splitlines()[-1]
    assert last.startswith("mmcl pretrain: ")
    assert str(run) in last
    assert "Traceback" not in stderr
    assert stderr.count("\n") <= 3, stderr  # the sentence, and lines of progress


@pytest.mark.parametrize("where", ["the first files", "checkpoints"])
def test_a_full_disk_ends_a_training_with_one_sentence_and_the_same_command_continues(
    where: str, pretrain: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = 8_000 if where == "the first files" else 20_000
    limited = [sys.executable, "-c", LIMITED, str(size), *MMCL, *pretrain]
    ended = subprocess.run(limited, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 2, ended.stderr
    is_one_sentence(ended.stderr, tmp_path / "run")
    assert main(pretrain) == 0, capsys.readouterr().err
    assert Run.open(tmp_path / "run").latest_step() == 36


def test_what_cannot_be_written_is_one_sentence_and_the_same_command_continues(
    pretrain: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is where the metrics are to be; then a file is where the folder of the events is to be."""
    run, metrics, events = (tmp_path / "run" / name for name in ("", "metrics.jsonl", "events"))
    assert main(pretrain) == 0
    (run / "checkpoints" / "36").rename(tmp_path / "36")
    metrics.unlink()
    metrics.mkdir()
    capsys.readouterr()
    assert main(pretrain) == 2
    is_one_sentence(capsys.readouterr().err, run)
    metrics.rmdir()
    shutil.rmtree(events)
    events.write_text("a file where the folder of the events is to be")
    assert main(pretrain) == 0  # metrics are on disk, so the training goes on without TensorBoard
    told = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("config.sinks: tensorboard failed")
    ]
    assert len(told) == 1
    assert str(events) in told[0]
    assert Run.open(run).latest_step() == 36


def without_privileges() -> None:
    """Give up root's capabilities, so that modes hold for root too; its own files stay readable."""
    version, empty = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if os.getuid() == 0 and ctypes.CDLL(None).capset(version, empty) != 0:
        raise OSError("capset")


def test_what_may_not_be_read_or_written_is_one_sentence(raw: Request, digits_store: Store, tmp_path: Path) -> None:
    """Of a table, an output, a work directory, a run and a store; all in one process, which has lost its privileges."""
    script = """
import json, sys
from mmcl_jax.cli import main
from tests.cli.test_disk import without_privileges
without_privileges()
for words in json.loads(sys.argv[1]):
    print("ended with", main.main(words), file=sys.stderr)
"""
    locked, sealed, free = (tmp_path / name for name in ("locked", "sealed", "open"))
    for folder in (locked, sealed, free):
        folder.mkdir()
    assert raw.table is not None
    secret = Path(shutil.copy(raw.table, tmp_path / "secret.csv"))
    prepare = ["prepare", "--images", str(raw.images), "--image-column", "file", "--table"]
    pretrain = ["pretrain", "--config", "digits_simclr"]
    cases = [
        ([*prepare, str(secret), "--out", str(free / "store")], secret),
        ([*prepare, str(raw.table), "--out", str(locked / "store")], locked),
        ([*pretrain, f"--config.data={digits_store.directory}", "--workdir", str(locked / "run")], locked),
        (["evaluate", "--run", str(sealed / "run")], sealed / "run"),
        ([*pretrain, f"--config.data={sealed / 'store'}", "--workdir", str(free / "run")], sealed / "store"),
    ]
    for path, mode in ((secret, 0), (locked, 0o555), (sealed, 0)):
        path.chmod(mode)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", script, json.dumps([command for command, _ in cases])], capture_output=True,
            text=True, timeout=240, cwd=Path(__file__).parents[2], env={**os.environ, "HOME": str(free)},
        )  # fmt: skip
    finally:
        for path in (locked, sealed):
            path.chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    said = ended.stderr.split("ended with 2\n")
    assert len(said) == len(cases) + 1, ended.stderr
    for (_, named), text in zip(cases, said, strict=False):
        last = text.splitlines()[-1]
        assert str(named) in last
        assert "ermission denied" in last
    assert not any(free.glob("*tore*"))
    assert not any(free.glob("*run*"))


class Disk:
    """A disk of its own, in memory, whose size and mode change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, *options: str) -> None:
        """Make or change it; raise `CalledProcessError` where that is not allowed."""
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    disk.path.mkdir()
    try:
        disk.mount("size=100k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk.path)], check=True)


def test_a_store_on_a_disk_that_is_full_or_read_only_is_one_sentence_and_continues(
    raw: Request, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Full in the pixels, which are mapped, in the shards, which a library writes, and in the files behind them."""
    out = disk.path / "store"
    prepare = ["prepare", "--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--out"]
    prepare += [str(out), "--label", "model", "--workers", "1"]
    for options, reason in (
        ("remount,size=12k", "no space left on device"),
        ("remount,size=60k", "no space left on device"),
        ("remount,size=100k", "no space left on device"),
        ("remount,size=9m,ro", "read-only file system"),
    ):
        disk.mount(*options.split(","))
        assert main(prepare) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        *_, sentence = error.splitlines()
        assert sentence.startswith("mmcl prepare: ")
        assert str(disk.path) in sentence
        assert reason in sentence.lower()
        assert not out.exists()
    disk.mount("remount", "size=9m", "rw")
    assert main(prepare) == 0, capsys.readouterr().err
    assert [path.name for path in disk.path.iterdir()] == ["store"]
    assert sum(Store.open(out).sizes.values()) == 40


def test_a_limit_of_open_files_is_one_sentence_and_the_same_command_continues(
    raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    prepare = ["prepare", "--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--out"]
    prepare += [str(out), "--label", "model", "--workers", "1"]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for free in (5, 6, 7):  # the first is for the pipe of the handler of SIGTERM and the lock
        least = os.open(os.devnull, os.O_RDONLY)
        os.close(least)
        resource.setrlimit(resource.RLIMIT_NOFILE, (least + free, hard))
        try:
            assert main(prepare) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sentence = capsys.readouterr().err.splitlines()[-1]
        assert "oo many open files" in sentence
        assert sentence.endswith("raise the limit of open files (ulimit -n); the same command continues.")
        assert not out.exists()
    assert main(prepare) == 0, capsys.readouterr().err


@pytest.mark.core
@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_a_sentence_with_a_remedy(number: int) -> None:
    sentence = sentence_of(OSError(number, os.strerror(number), "runs/a"))
    assert sentence.startswith("runs/a: ")
    assert "; " in sentence
    assert sentence.endswith(".")
