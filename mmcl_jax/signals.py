"""Handling of SIGTERM during a whole command: the process ends with status 75."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SENTENCE = "stopped; the same command continues."


@contextmanager
def ends_at_sigterm(
    command: str, *, leaves: bool, report: Callable[[str, int], object] = lambda sentence, status: None
) -> Iterator[None]:
    """End the process with status 75 at SIGTERM within the block; the training loop has a handler of its own.

    A thread ends the process at once: XLA's compiler returns to Python only when it is done, and an interrupted import
    may crash. Nothing is lost: commands write their files atomically, the locks of a dead process are free, and worker
    processes end with it.

    Args:
      command: name of the command, for the sentence on standard error.
      leaves: whether the process ends after the block; from then on SIGTERM is ignored, since the status is decided.
      report: called with the sentence and the status before the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def handler(number: int, frame: FrameType | None) -> None:
        """Do nothing: Python wakes the thread for every signal that has a handler."""

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is handler:
                os.write(2, f"mmcl {command}: {_SENTENCE}\n".encode())
                try:
                    report(_SENTENCE, os.EX_TEMPFAIL)
                finally:
                    os._exit(os.EX_TEMPFAIL)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakes = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True, name="watch for SIGTERM")
    watcher.start()
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if leaves else before)
        signal.set_wakeup_fd(wakes)
        os.close(writing)
        watcher.join()
        os.close(reading)
