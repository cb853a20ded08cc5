"""The end of a whole command at once: at SIGTERM with status 75, or by a thread that sees that it cannot go on."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SENTENCE = "stopped; the same command continues."
_INTERRUPTED = "interrupted; the same command starts again."
Report = Callable[[str, int], object]

# What is called with the sentence and the status before a process ends at once: the command's output, other processes.
reports: list[Report] = []
_commands: list[str] = []


def end(sentence: str, status: int) -> NoReturn:
    """End the process at once, from any thread, with a sentence on standard error.

    Nothing is lost: commands write their files atomically, the locks of a dead process are free, and worker processes
    end with it.
    """
    name = " ".join(["mmcl", *_commands[-1:]])
    os.write(2, f"{name}: {sentence}\n".encode())
    try:
        for report in reversed(reports):
            report(sentence, status)
    finally:
        os._exit(status)


def delay_abort() -> None:
    """Let libraries that abort this process wait for six seconds before.

    XLA aborts a process as soon as it loses the first process of its job. A thread of this process that notices the
    loss, too, needs Python's global lock, and may be later. Within the six seconds that thread ends the process with a
    sentence and a status, as `end` does; else the process is aborted as before.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    # A handler is called with the number of its signal, which is 6. It is no function of Python, which would need the
    # lock; and `sleep` may be called in a handler.
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


@contextmanager
def ends_at_sigterm(command: str, *, leaves: bool, report: Report = lambda sentence, status: None) -> Iterator[None]:
    """End the process with status 75 at SIGTERM within the block; the training loop has a handler of its own.

    A thread ends the process at once: XLA's compiler returns to Python only when it is done, and an interrupted import
    may crash.

    Args:
      command: name of the command, for the sentence on standard error.
      leaves: whether the process ends after the block; from then on SIGTERM is ignored, since the status is decided.
      report: called with the sentence and the status before the process ends.
    """
    _commands.append(command)
    reports.append(report)
    try:
        if threading.current_thread() is threading.main_thread():  # only the main thread may handle signals
            with _watched(leaves):
                yield
        else:
            yield
    finally:
        _commands.pop()
        reports.remove(report)


@contextmanager
def ends_at_interrupt() -> Iterator[None]:
    """Within a block of `ends_at_sigterm`, end the process at once with status 130 at Ctrl-C.

    This is for imports: an exception in the middle of one is lost, or leaves half of a module.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # such as ignored, by nohup
        yield
        return
    before = signal.signal(signal.SIGINT, _noted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: Python wakes the watching thread for every signal that has a handler."""


@contextmanager
def _watched(leaves: bool) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        _noted(number, frame)

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is handler:
                end(_SENTENCE, os.EX_TEMPFAIL)
            if number[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is _noted:
                end(_INTERRUPTED, 130)

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
        if leaves:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wakes)
        os.close(writing)
        watcher.join()
        os.close(reading)
