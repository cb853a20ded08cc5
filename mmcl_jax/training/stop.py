"""Stopping gently: SIGTERM and SIGINT ask the loop to save and leave."""

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
    """Whether somebody asked to stop. Before `listen`, signals do what they did before the block."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        """Make SIGTERM and SIGINT only set `asked`, from now on to the end of the block.

        With several processes JAX listens for SIGTERM, which any of them may get, and has them agree on a step.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self.ask,
            signal.SIGINT: self.ask,
        }
        if jax.process_count() > 1:
            handlers = {signal.SIGINT: lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. Schedulers may send SIGTERM again and again; a second Ctrl-C does not wait any longer."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def at(self, step: int) -> bool:
        """Return whether to stop after this step. Several processes all stop after the same step."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.asked

    def leave(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Give a request that listens, once told so, until the end of the block."""
    request = StopRequest()
    try:
        yield request
    finally:
        request.leave()
