#!/usr/bin/env python3
"""Start several processes on this machine.

    python launch/local.py --processes 2 -- mmcl pretrain --config ... --workdir ...

Each process runs the command with `--distributed` added. The processes find each other by the environment variables of
`mmcl_jax.training.processes`. Every line of output begins with the number of its process. SIGTERM and SIGINT are passed
on, so that all processes save and leave. If a process dies, the others cannot continue and are ended; with
`--restarts`, all are started again. The exit status is the first that is not 0, or that of the process whose end made
the others leave.
"""

import argparse
import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

SECONDS_TO_LEAVE, SECONDS_TO_NOTICE = 60.0, 15.0
LIBC, PR_SET_PDEATHSIG = ctypes.CDLL(None), 1  # of Linux, <linux/prctl.h>
BAD_INPUT, LOST_ANOTHER, UNFINISHED = 2, 69, 75


def main() -> int:
    """Run the command until it is finished, fails for good, or has no restarts left."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--devices", type=int, default=None, help="CPU devices per process; leave out on GPUs and TPUs")
    parser.add_argument(
        "--restarts", type=int, default=0, help="how many times to start all processes again after a crash"
    )
    parser.add_argument(
        "command", nargs="+", help="after --, the command that each process runs, such as mmcl pretrain ..."
    )
    options = parser.parse_args()
    for attempt in range(options.restarts + 1):
        status = Group(options.command, options.processes, options.devices).wait()
        if status in (0, BAD_INPUT, UNFINISHED):
            return status
        if attempt < options.restarts:
            print(f"launch: a process ended with {status}; starting all again", flush=True)
    return status


class Group:
    """The processes of one attempt."""

    def __init__(self, command: list[str], processes: int, devices: int | None) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        self.processes = []
        self.stopping = False
        for index in range(processes):
            environment = os.environ | {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(processes),
                "JAX_PROCESS_ID": str(index),
            }
            if devices is not None:
                environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
            process = subprocess.Popen(
                [*command, "--distributed"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C reaches the children once, through us
                preexec_fn=functools.partial(leave_with, os.getpid()),  # before the threads below: it runs forked
            )
            self.processes.append(process)
        for index, process in enumerate(self.processes):
            threading.Thread(target=show, args=(index, process), daemon=True).start()

    def wait(self) -> int:
        """Wait until all processes have ended; return the first status that is not 0, and that tells of its own cause.

        A signal's status is negative.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.pass_on)
        deadline = None
        while any(status is None for status in self.statuses()):
            time.sleep(0.05)
            ended = [status for status in self.statuses() if status is not None]
            if deadline is None and (any(ended) or (ended and not self.stopping)):
                deadline = time.monotonic() + (SECONDS_TO_LEAVE if set(ended) <= {0, UNFINISHED} else SECONDS_TO_NOTICE)
            if deadline is not None and time.monotonic() > deadline:
                self.send(signal.SIGKILL)
        failed = [status for status in self.statuses() if status]
        return next((status for status in failed if status != LOST_ANOTHER), failed[0] if failed else 0)

    def statuses(self) -> list[int | None]:
        """Return the exit status of each process, None while it runs."""
        return [process.poll() for process in self.processes]

    def pass_on(self, number: int, frame: object) -> None:
        """Ask all processes to save and leave, as the handler of signal `number`."""
        self.stopping = True
        self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send a signal to the processes that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)


def leave_with(launcher: int) -> None:
    """Let the kernel end this process, which is about to become a process of the job, when its launcher has ended.

    A launcher that is killed cannot end its processes, which would train on and keep the work directory locked. No
    step that is saved is lost.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != launcher:
        os._exit(1)


def show(index: int, process: subprocess.Popen[str]) -> None:
    """Print the lines of a process, except those that Gloo, which connects CPUs, logs for each connection."""
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith("[Gloo]"):
            print(f"[{index}] {line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
