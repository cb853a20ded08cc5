"""Graceful stops: on SIGTERM or SIGINT the training saves a checkpoint and ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """A request to stop, which signals set from `listen` on; before `listen`, signals have their former effect."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        """Let SIGTERM and SIGINT only set `requested`, until the end of the block.

        With several processes JAX handles SIGTERM, which any process may receive, and lets all agree on a step.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self.handle,
            signal.SIGINT: self.handle,
        }
        if jax.process_count() > 1:
            handlers = {signal.SIGINT: lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. Schedulers may repeat SIGTERM without effect; a second Ctrl-C interrupts at once."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def at(self, step: int) -> bool:
        """Return whether to stop after this step, which is the same step in all processes."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.requested

    def restore(self) -> None:
        """Restore the former signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Yield a stop request; the former signal handlers are restored at the end of the block."""
    request = StopRequest()
    try:
        yield request
    finally:
        request.restore()
