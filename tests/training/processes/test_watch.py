"""A process that is killed, stopped or leaves with an error: all others name it, and end with a clear status."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmcl_jax.training.processes.watch import LOST

LIMIT = 4.0  # seconds of silence
HOST, ENDS = socket.gethostname(), ", so this process ends, too; the same command continues."
# Without JAX, whose processes take seconds to start: the connections alone.
ALONE = """
import os, sys, time
from mmcl_jax.signals import ends_at_sigterm
from mmcl_jax.training.processes import watch
from mmcl_jax.training.processes.meeting import meet
address, process, count, work = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
with ends_at_sigterm("pretrain", leaves=True):
    watch._GRACE = 0.5
    watched = watch.Watch(process, meet(address, count, process, {}, limit=30), limit=4.0)
    print("ready", flush=True)
    if work == "wait":
        time.sleep(60)
    elif work == "compute":  # in Python, for longer than the limit
        until = time.monotonic() + 6 + process
        while time.monotonic() < until:
            pass
    elif process == 1:
        watched.leave(int(work))
        os._exit(int(work))
    else:
        time.sleep(60)
    watched.leave(0)
"""
# With JAX: a collective in every step, an evaluation in which one process waits for the other, a save by all.
TOGETHER = """
import sys, time
import numpy as np
from jax.experimental import multihost_utils
from mmcl_jax.signals import ends_at_sigterm
from mmcl_jax.training.processes import begin, check_same, watch
work, folder = sys.argv[4:]
with ends_at_sigterm("pretrain", leaves=True):
    begin(distributed=True)
    if work == "save":
        from orbax.checkpoint import v1 as ocp
        checkpointer = ocp.training.Checkpointer(folder)
    if work == "late":  # JAX notices a loss before the thread that watches
        receive = watch.Peer.messages
        watch.Peer.messages = lambda peer: (time.sleep(0.5), receive(peer))[1]
    for step in range(10_000):
        if work == "late":
            time.sleep(0.01)
        elif work == "step":
            multihost_utils.process_allgather(np.zeros(2))
        elif work == "evaluation":
            check_same({"step": step})
        else:
            checkpointer.save_pytree(step, {"weights": np.zeros(9)})
        if step == 2:
            print("ready", flush=True)
"""


def start(program: str, count: int, *arguments: str, **environment: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    address = f"localhost:{port}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count), "MMCL_LOST_SECONDS": str(LIMIT)}
    shared |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(number), str(count), *arguments],
            env=os.environ | shared | {"JAX_PROCESS_ID": str(number)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def ready(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        line = "no line"
        while line and line != "ready\n":
            line = process.stdout.readline()
        assert line, process.communicate()[1]


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, list[str]]]:
    """The status of each process, and the sentences that it printed."""
    told = []
    try:
        for process in processes:
            _, error = process.communicate(timeout=60)
            told.append((process.returncode, [line for line in error.splitlines() if line.startswith("mmcl ")]))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return told


@pytest.mark.core
@pytest.mark.parametrize(("lost", "count"), [(0, 2), (2, 3)])
def test_a_killed_process_is_named_by_all_others(lost: int, count: int) -> None:
    processes = start(ALONE, count, "wait")
    ready(processes)
    processes[lost].kill()
    told = ends(processes)
    del told[lost]
    assert told == [(LOST, [f"mmcl pretrain: process {lost} on {HOST} is gone{ENDS}"])] * (count - 1)


def test_a_process_names_the_first_one_also_where_jax_aborts_it(tmp_path: Path) -> None:
    processes = start(TOGETHER, 2, "late", str(tmp_path))
    ready(processes)
    processes[0].kill()
    assert ends(processes)[1] == (LOST, [f"mmcl pretrain: process 0 on {HOST} is gone{ENDS}"])


def test_long_work_on_the_host_and_a_suspended_job_are_no_loss() -> None:
    """One process computes for longer than the limit, while the other has left with status 0."""
    processes = start(ALONE, 2, "compute")
    ready(processes)
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(LIMIT + 1)
    for process in processes:
        process.send_signal(signal.SIGCONT)
    assert ends(processes) == [(0, [])] * 2


@pytest.mark.parametrize(("status", "other"), [(2, 2), (1, LOST)])
def test_others_end_soon_after_a_process_that_has_failed(status: int, other: int) -> None:
    sentence = f"mmcl pretrain: process 1 on {HOST} has ended with status {status}; see its message."
    assert ends(start(ALONE, 2, str(status))) == [(other, [sentence]), (status, [])]


@pytest.mark.parametrize(("work", "stuck"), [("step", 0), ("evaluation", 1), ("save", 1)])
def test_a_process_that_is_stuck_but_alive_is_named(work: str, stuck: int, tmp_path: object) -> None:
    processes = start(TOGETHER, 2, work, str(tmp_path))
    ready(processes)
    processes[stuck].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        ((status, sentences),) = ends([processes[1 - stuck]])
    finally:
        processes[stuck].kill()
        processes[stuck].communicate()
    assert status == LOST
    assert sentences == [f"mmcl pretrain: process {stuck} on {HOST} has not answered for 4 s{ENDS}"]
    assert time.monotonic() - began < 60
