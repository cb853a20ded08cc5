"""Stopping gently: SIGTERM and SIGINT ask the loop to save and leave."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second request stops at once."""
        if self.asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = True

    def at(self, step: int) -> bool:
        """Whether to stop after this step. Several processes all say so after the same one."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.asked


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Within the block, SIGTERM (what schedulers send before they kill) and SIGINT only set `asked`.

    With several processes JAX listens for SIGTERM, which any of them may get, and has them agree on a step.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may handle signals
        return
    if jax.process_count() > 1:
        handlers = {signal.SIGINT: lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)}
    else:
        handlers = {signal.SIGTERM: request.ask, signal.SIGINT: request.ask}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
