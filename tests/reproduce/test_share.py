"""Jobs that processes claim one by one: each is done once, whoever dies."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcl_jax import lock
from mmcl_jax.reproduce.work.share import Job, share

pytestmark = pytest.mark.core

# Job 5 needs job 0. Every start of a job is a line of the log.
WORKER = """
import os, sys, time
from pathlib import Path
from mmcl_jax.reproduce.work import share as module
module._POLL = 0.02
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

def job(number):
    done = folder / f"{number}.done"
    def do():
        with (folder / "log").open("a") as log:
            log.write(f"{number} {os.getpid()}\\n")
        time.sleep(seconds)
        done.touch()
        return True
    needs = folder / "0.done"
    return module.Job(name=str(number), done=done.is_file, ready=lambda: number != 5 or needs.is_file(), do=do)

assert module.share([job(number) for number in (5, *range(5), *range(6, 20))], folder / "claims", lambda line: None)
"""


def worker(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(seconds)])


def starts(folder: Path) -> list[tuple[int, int]]:
    """The number and the process of every start of a job."""
    return [(int(job), int(process)) for job, process in map(str.split, (folder / "log").read_text().splitlines())]


def test_every_job_is_done_once_and_that_of_a_dead_process_again(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    stuck = worker(tmp_path, 120)
    while not starts(tmp_path):
        time.sleep(0.02)
    workers = [worker(tmp_path, 0.05) for _ in range(3)]
    while len(starts(tmp_path)) < 4:
        time.sleep(0.02)
    stuck.kill()
    assert [process.wait(60) for process in workers] == [0, 0, 0]
    by_job: dict[int, list[int]] = {}
    for number, process in starts(tmp_path):
        by_job.setdefault(number, []).append(process)
    assert sorted(by_job) == list(range(20))
    assert by_job.pop(0)[:-1] == [stuck.pid]  # its job, and that which waited for it, were done by another
    assert {len(processes) for processes in by_job.values()} == {1}
    assert len({process for (process,) in by_job.values()}) > 1
    assert not list((tmp_path / "claims").iterdir())
    stuck.wait()


def test_a_claim_of_a_host_that_died_is_free_when_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "_POLL", 0.01)
    claim, done = tmp_path / "claims" / "a.json", tmp_path / "done"
    claim.parent.mkdir()
    claim.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "beat": 3}))
    job = Job(name="a", done=done.is_file, ready=lambda: True, do=lambda: done.touch() is None)
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        os.utime(claim, (0, 0))  # it was renewed a moment ago, and from now on it is old

    assert share([job], claim.parent, log)
    assert said == ["waiting for other processes: a"]
    assert done.is_file()


def test_a_job_that_is_stopped_ends_the_work(tmp_path: Path) -> None:
    job = Job(name="a", done=lambda: False, ready=lambda: True, do=lambda: False)
    assert not share([job], tmp_path / "claims", print)
    assert not list((tmp_path / "claims").iterdir())
