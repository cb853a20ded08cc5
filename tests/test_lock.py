"""One process at a time in a folder."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax import lock
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.file import ResultsFile
from mmcl_jax.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from mmcl_jax.lock import locked
with locked(Path(sys.argv[1]), what="trains in runs/a"):
    print("held", flush=True)
    time.sleep(120)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def without_flock(monkeypatch: pytest.MonkeyPatch, number: int | None) -> None:
    """A file system whose `flock` raises this error, or does nothing."""

    def flock(file: object, operation: int) -> None:
        if number is not None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("kernel", ["works", "does nothing", errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_the_second_process_is_told_who_holds_it_until_that_is_dead(
    kernel: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel != "works":
        without_flock(monkeypatch, kernel if isinstance(kernel, int) else None)
    path = tmp_path / "run" / "lock.json"
    process = holder(path)
    sentence = f"Process {process.pid} on {socket.gethostname()} trains in runs/a; wait until it ends, or stop it."
    for _ in range(2):
        with pytest.raises(UserError) as refused, locked(path, what="trains in runs/a"):
            pass
        assert str(refused.value) == sentence
    process.send_signal(signal.SIGKILL)
    process.communicate()
    began = time.monotonic()
    with locked(path, what="trains"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert time.monotonic() - began < 2
    assert not path.exists()


def test_a_file_system_that_never_answers_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network disks whose lock service is gone."""
    forever = threading.Event()
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: forever.wait())
    monkeypatch.setattr(lock, "ANSWER", 0.2)
    for wait in (False, True):
        hangs = pytest.raises(UserError, match=r"lock.json: its file system has not locked the file in 0 s; mount it")
        with hangs, locked(tmp_path / "lock.json", what="trains", wait=wait):
            pass
    forever.set()


@pytest.mark.parametrize("kernel", ["does nothing", errno.ENOLCK, errno.ENOSYS])
def test_results_are_written_without_locks_of_the_kernel(
    kernel: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flock(monkeypatch, kernel if isinstance(kernel, int) else None)
    results = ResultsFile(tmp_path / "scores.json", store="store", sources=[], head={})
    results.keep({}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x"}', '{"host": "HOST", "pid": 1, "started": "before"}'])
def test_a_note_that_a_kill_left_holds_nothing(note: str, tmp_path: Path) -> None:
    """Cut short, or of a process whose number another one has now."""
    path = tmp_path / "lock.json"
    path.write_text(note.replace("HOST", socket.gethostname()))
    with locked(path, what="trains"):
        pass


def test_a_holder_on_another_host_is_alive_as_long_as_it_renews_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.5)
    path = tmp_path / "lock.json"
    code = HOLD.replace("with locked", "from mmcl_jax import lock\nimport socket\nsocket.gethostname = lambda: 'far'\n"
                        "lock.BEAT = 0.3\nwith locked")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    without_flock(monkeypatch, None)  # as where a lock ends at the host
    with pytest.raises(UserError, match=f"Process {process.pid} on far trains"), locked(path, what="trains"):
        pass
    process.kill()
    process.communicate()
    with locked(path, what="trains"):
        pass


@pytest.mark.parametrize("wait", [True, False])
def test_a_dead_holder_that_nobody_has_asked_after_holds_nothing(tmp_path: Path, wait: bool) -> None:
    """A zombie: containers often have no process that reaps."""
    process = holder(tmp_path / "lock.json")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with locked(tmp_path / "lock.json", what="trains", wait=wait, log=pytest.fail):
        pass
    process.communicate()


def test_who_waits_comes_in_when_the_other_leaves(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    process = holder(path)
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        process.kill()

    with locked(path, what="restores flat", wait=True, log=log):
        process.communicate()
    assert said == [f"waiting: Process {process.pid} on {socket.gethostname()} restores flat"]


def test_three_processes_restore_a_deleted_folder_at_once(digits_store: Store, tmp_path: Path) -> None:
    """One does it, the others wait; all read the same."""
    store = tmp_path / "store"
    subprocess.run(["cp", "-r", str(digits_store.directory), str(store)], check=True)
    code = """
import sys, numpy as np
from mmcl_jax.data.store import Store
for images in (False, True):
    arrays = Store.open(sys.argv[1]).arrays("train") if images else Store.open(sys.argv[1]).rows("train")
print(int(np.asarray(arrays["image"]).astype(np.int64).sum()), arrays["id"][:3].tolist())
"""
    image = digits_store.arrays("train")
    expected = f"{int(np.asarray(image['image']).astype(np.int64).sum())} {image['id'][:3].tolist()}"
    for missing in ("flat", "flat/image.npy", "flat/table.at.npy"):
        subprocess.run(["rm", "-r", str(store / missing)], check=True)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        for process in processes:
            output, error = process.communicate(timeout=240)
            assert process.returncode == 0, error
            assert output.splitlines()[-1] == expected
        assert {path.name for path in store.iterdir()} == {path.name for path in digits_store.directory.iterdir()}
