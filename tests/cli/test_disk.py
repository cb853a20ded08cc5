"""Full disks, folders that may not be written and files that may not be read: one sentence, and nothing is lost."""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.data.store import Store
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

MMCL = [sys.executable, "-P", "-m", "mmcl_jax.cli.main"]


# Lets no file of a command grow beyond so many bytes: to the process, its disk is full.
LIMITED = "import os, resource, sys; size = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); "
LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize("where", ["the first files", "checkpoints", "metrics.jsonl", "events"])
def test_a_full_disk_ends_a_training_with_one_sentence_and_the_same_command_continues(
    where: str, tiny_config, tmp_path: Path
) -> None:
    size = 8_000 if where == "the first files" else 20_000
    config = tiny_config("digits_simclr", "epochs=2", "checkpoint_every=3")
    path = tmp_path / "config.py"
    path.write_text(
        "from mmcl_jax.training.runs.plain import from_plain\n"
        f"def get_config(): return from_plain({to_plain(config)!r})\n"
    )
    command = [*MMCL, "pretrain", "--config", str(path), "--workdir", str(tmp_path / "run")]
    if where in ("the first files", "checkpoints"):
        ended = subprocess.run([sys.executable, "-c", LIMITED, str(size), *command], capture_output=True, text=True)
    else:  # what is to be written is of another kind
        subprocess.run([*command], capture_output=True, text=True, timeout=240, check=True)
        (tmp_path / "run" / "checkpoints" / "36").rename(tmp_path / "36")
        if where == "events":
            events = tmp_path / "run" / "events"
            subprocess.run(["rm", "-r", str(events)], check=True)
            events.write_text("a file where the folder of the events is to be")
        else:
            (tmp_path / "run" / where).unlink()
            (tmp_path / "run" / where).mkdir()
        ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("mmcl pretrain: ")
    assert str(tmp_path / "run") in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") <= 3, ended.stderr  # the sentence, and lines of progress
    if where == "metrics.jsonl":
        (tmp_path / "run" / where).rmdir()
    elif where == "events":
        (tmp_path / "run" / where).unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert Run.open(tmp_path / "run").latest_step() == 36


def without_privileges() -> None:
    """Give up root's capabilities, so that modes hold for root too; its own files stay readable."""
    version, empty = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if os.getuid() == 0 and ctypes.CDLL(None).capset(version, empty) != 0:
        raise OSError("capset")


@pytest.mark.parametrize("what", ["table", "out", "workdir", "run", "store"])
def test_what_may_not_be_read_or_written_is_one_sentence(
    what: str, raw: Request, digits_store: Store, tmp_path: Path
) -> None:
    script = """
import sys
from mmcl_jax.cli import main
from tests.cli.test_disk import without_privileges
without_privileges()
sys.exit(main.main(sys.argv[1:]))
"""
    closed = tmp_path / "closed"
    closed.mkdir()
    assert raw.table is not None
    prepare = ["prepare", "--table", str(raw.table), "--images", str(raw.images), "--image-column", "file"]
    command, named = {
        "table": ([*prepare, "--out", str(tmp_path / "open" / "store")], raw.table),
        "out": ([*prepare, "--out", str(closed / "store")], closed),
        "workdir": (["pretrain", "--config", "digits_simclr", f"--config.data={digits_store.directory}",
                     "--workdir", str(closed / "run")], closed),
        "run": (["evaluate", "--run", str(closed / "run")], closed / "run"),
        "store": (["pretrain", "--config", "digits_simclr", f"--config.data={closed / 'store'}",
                   "--workdir", str(tmp_path / "open" / "run")], closed / "store"),
    }[what]  # fmt: skip
    (tmp_path / "open").mkdir()
    if what == "table":
        raw.table.chmod(0)
    closed.chmod(0o555 if what in ("out", "workdir") else 0)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=240,
            cwd=Path(__file__).parents[2], env={**os.environ, "HOME": str(tmp_path / "open")},
        )  # fmt: skip
    finally:
        closed.chmod(0o755)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert str(named) in last
    assert "ermission denied" in last
    assert not any((tmp_path / "open").glob("*tore*"))
    assert not any((tmp_path / "open").glob("*run*"))


@pytest.mark.core
@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_a_sentence_with_a_remedy(number: int) -> None:
    sentence = sentence_of(OSError(number, os.strerror(number), "runs/a"))
    assert sentence.startswith("runs/a: ")
    assert "; " in sentence
    assert sentence.endswith(".")
