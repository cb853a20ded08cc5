"""Processes that run a command: forked from this one behind its imports, or fresh; and what they leave running."""

import atexit
import contextlib
import importlib
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def load(commands: Sequence[str]) -> None:
    """Import what the commands import, without a JAX backend, so that a forked process begins with its work."""
    from mmcl_jax.cli import main

    for command in commands:
        importlib.import_module(f"mmcl_jax.api.commands.{main.module_of(command)}")


def run(words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], *, fork: bool) -> int:
    """Start `mmcl` with these words in a folder, in a session of its own, and return its process number."""
    if not fork:
        code = "import sys; from mmcl_jax.cli.main import main; sys.exit(main())"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *words],
                cwd=folder,
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        process.returncode = 0  # this module waits for it
        return process.pid

    def work() -> int:
        from mmcl_jax.cli.main import main

        os.chdir(folder)
        os.environ.update(environment)
        sys.argv = ["mmcl", *words]
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        return main()

    return forked(work)


def forked(work: Callable[[], int]) -> int:
    """Do the work in a forked process, in a session of its own, which ends with the status that it returns."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        status = work()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # as an interpreter ends, but without the caller's `finally`
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def ended(pid: int) -> int | None:
    """Return how a process of this one has ended, negative for a signal; None if it has not."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def wait(pid: int, seconds: float) -> int:
    """Wait for the end of a process, and return how it ended; raise `TimeoutError` if it takes longer."""
    until = time.monotonic() + seconds
    while (status := ended(pid)) is None:
        if time.monotonic() > until:
            raise TimeoutError(f"process {pid} has not ended in {seconds:.0f} s")
        time.sleep(0.005)
    return status


def left(session: int) -> list[int]:
    """Return the live processes of a session, which a command and its workers share."""
    return [pid for pid, of in _sessions() if of == session]


def _sessions() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    yield int(folder.name), int(rest[2])
