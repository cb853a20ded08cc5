"""Worker processes that leave with the process that began them."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

import numpy as np

_PR_SET_PDEATHSIG = 1  # of Linux, <linux/prctl.h>


def pool(workers: int, begin: Callable[..., object] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Return a pool of spawned processes, each of which calls `begin(*arguments)` first.

    Spawned, not forked: the libraries that are loaded here have threads. A worker imports the file of what it is to do,
    and the main program; a program that is a script has to be guarded by `if __name__ == "__main__":`.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(begin, arguments))


def leave_with_parent(*, at_once: bool = True) -> None:
    """Make this worker process end when the process that began it is dead, however that died.

    On Linux the kernel kills the worker `at_once`. It does so when the *thread* that began the worker ends, so pass
    false if that thread may end first. Everywhere, a thread of the worker looks every second.
    """
    parent = parent_process()
    assert parent is not None
    assert parent.pid is not None
    number = parent.pid
    if at_once and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != number:  # dead before any of this
        os._exit(1)

    def watch() -> None:
        while os.getppid() == number:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="leave with parent").start()


def begin_streaming(worker: int, workers: int) -> None:
    """Prepare a process that Grain began; it says which worker of how many this is."""
    _leave_signals_to_parent()
    leave_with_parent(at_once=False)  # Grain does not say which thread begins it


def out_of_shared_memory(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array that a Grain worker drew, and free the shared memory that it lies in.

    Grain frees the memory when the array dies. That may be never: JAX uses the array where it lies and lets go of it
    when it is called again, and exceptions of Grain's hold the last ones. Python reports such memory as leaked at the
    end.
    """
    copy, memory = np.array(array), getattr(array, "shm", None)
    if memory is not None:
        memory.unlink()
        array._unlink_on_del = False  # type: ignore[attr-defined]  # of Grain's SharedMemoryArray
    return copy


def _leave_signals_to_parent() -> None:
    """Ignore Ctrl-C and SIGTERM: both may reach the whole group of processes, and the parent deals with them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _begin(begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    _leave_signals_to_parent()
    leave_with_parent()
    if begin is not None:
        begin(*arguments)
