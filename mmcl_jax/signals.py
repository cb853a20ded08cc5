"""SIGTERM from the first moment of a command to its last: the process ends with status 75."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = "stopped; the same command continues."
_GRACE = 5.0  # seconds that the main thread has to come back from compiled code


class Stopped(BaseException):
    """SIGTERM asked the process to end."""


_answered = threading.Event()


def answered() -> None:
    """Raise no `Stopped` any more: the training loop, which had its own handler, was asked to stop, and has stopped."""
    _answered.set()


@contextmanager
def stoppable(*, leaves: bool) -> Iterator[None]:
    """Raise `Stopped` in the main thread at SIGTERM within the block; the training loop has a handler of its own.

    Compiled code, such as XLA's compiler, returns to Python late. After `_GRACE` seconds the process then ends with
    status 75 on the spot: whatever a command writes is there whole or not at all, so nothing is lost.

    Args:
      leaves: the process ends behind the block: SIGTERM is ignored from there on, since the status is decided.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    ended = threading.Event()
    _answered.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        if not _answered.is_set():
            _answered.set()  # once: what ends the command is not stopped again
            raise Stopped

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is stop and not ended.wait(_GRACE):
                print(STOPPED, file=sys.stderr, flush=True)
                os._exit(os.EX_TEMPFAIL)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakes = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True, name="watch for SIGTERM")
    watcher.start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, stop)
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if leaves else before)
        signal.set_wakeup_fd(wakes)
        os.close(writing)
        ended.set()
        watcher.join()
        os.close(reading)
