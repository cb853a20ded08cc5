"""Worker processes that end with the process that started them."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import numpy as np

from mmcl_jax.text import escape_messages

_PR_SET_PDEATHSIG = 1  # of Linux, <linux/prctl.h>


def pool(workers: int, begin: Callable[..., object] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Return a pool of spawned processes, each of which calls `begin(*arguments)` first.

    They are not forked, since the libraries of this process have threads. A worker imports the module of the function
    that it runs, and the main program; a script must therefore be guarded by `if __name__ == "__main__":`.
    """
    return ProcessPoolExecutor(workers, _Spawned(), initializer=_begin, initargs=(begin, arguments))


class _Worker(SpawnProcess):
    """A worker process, which ignores SIGTERM: a pool that has lost one worker must kill the others to end."""

    def terminate(self) -> None:
        self.kill()


class _Spawned(SpawnContext):
    Process = _Worker


def leave_with_parent(*, at_once: bool = True) -> None:
    """End this worker process when its parent process has ended, for whatever reason.

    A thread of the worker checks for its parent every second. On Linux, with `at_once`, the kernel also kills the
    worker as soon as the *thread* that started it ends; pass false if that thread may end before its process.
    """
    parent = parent_process()
    assert parent is not None
    assert parent.pid is not None
    parent_pid = parent.pid
    if at_once and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent ended before this call
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="leave with parent").start()


def begin_streaming(worker: int, workers: int) -> None:
    """Set up worker `worker` of `workers` that Grain started."""
    escape_messages()
    _leave_signals_to_parent()
    leave_with_parent(at_once=False)  # Grain may start it from a thread that ends early


def out_of_shared_memory(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array from a Grain worker, and free the shared memory of the original.

    Grain frees the memory when the array is collected, which may never happen: JAX keeps a reference to the array until
    its next call, and exceptions in Grain keep the last arrays. Python reports such memory as leaked at exit.
    """
    copy, memory = np.array(array), getattr(array, "shm", None)
    if memory is not None:
        memory.unlink()
        array._unlink_on_del = False  # type: ignore[attr-defined]  # of Grain's SharedMemoryArray
    return copy


def _leave_signals_to_parent() -> None:
    """Ignore Ctrl-C and SIGTERM, which may reach the whole process group; the parent handles them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _begin(begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    escape_messages()
    _leave_signals_to_parent()
    leave_with_parent()
    if begin is not None:
        begin(*arguments)
