"""SIGTERM from the first moment of a command to its last: the process ends with status 75."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = "stopped; the same command continues."
_GRACE = 5.0  # seconds that the main thread has to come back from compiled code


class Stopped(BaseException):
    """SIGTERM asked the process to end."""


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
    over = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            over.set()  # once: what ends the command is not stopped again
            raise Stopped

    def watch() -> None:
        while os.read(reading, 1) == bytes([signal.SIGTERM]):
            if signal.getsignal(signal.SIGTERM) is stop:
                time.sleep(_GRACE)
                print(STOPPED, file=sys.stderr, flush=True)
                os._exit(os.EX_TEMPFAIL)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.signal(signal.SIGTERM, stop)
    wakes = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True, name="watch for SIGTERM")
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if leaves else before)
        signal.set_wakeup_fd(wakes)
        os.close(writing)
        if not over.is_set():
            watcher.join()
            os.close(reading)
