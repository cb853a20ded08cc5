"""SIGTERM from the first moment of a command to its last: the process ends with status 75."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SENTENCE = "stopped; the same command continues."


@contextmanager
def ends_at_sigterm(command: str, *, leaves: bool) -> Iterator[None]:
    """End the process with status 75 at SIGTERM within the block; the training loop has a handler of its own.

    It ends on the spot, by a thread, since compiled code such as XLA's compiler returns to Python late, and an import
    that is broken off may crash. Nothing is lost: what a command writes is there whole or not at all, the locks of a
    dead process are free, and its workers leave with it.

    Args:
      command: its name, for the sentence on standard error.
      leaves: the process ends behind the block: SIGTERM is ignored from there on, since the status is decided.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def handler(number: int, frame: FrameType | None) -> None:
        """Wake the thread, which Python does for every signal with a handler."""

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is handler:
                os.write(2, f"mmcl {command}: {_SENTENCE}\n".encode())
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
