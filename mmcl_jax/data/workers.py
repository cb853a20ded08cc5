"""Worker processes that leave with the process that began them."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any


def pool(workers: int, begin: Callable[..., object] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """A pool of spawned processes, each of which calls `begin(*arguments)` first.

    Spawned, not forked: the libraries that are loaded here have threads. A worker imports the file of what it is to do,
    and the main program; a program that is a script has to be guarded by `if __name__ == "__main__":`.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(begin, arguments))


def _begin(begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent deals with it
    parent = parent_process()
    assert parent is not None

    def leave_with_parent() -> None:  # a killed parent cannot say that there is no more work
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)
