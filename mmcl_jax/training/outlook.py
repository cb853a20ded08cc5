"""Messages while a user waits: that the program compiles, and how long the training will take."""

import contextlib
import html
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mmcl_jax.progress import duration, notebook_display

_SHORT = 10.0  # seconds below which no estimate is logged
_LONG = 600.0  # seconds above which a shorter training, of this many seconds, is suggested
_WARMUP = 2  # steps before timing starts
_TIMED_STEPS, _TIMED_SECONDS = 10, 5.0  # timing ends after so many steps or seconds


@contextlib.contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show that work is in progress: by a spinner on a terminal, a line in a notebook, else a line before and after."""
    console = Console(stderr=True, quiet=quiet)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    began = time.monotonic()
    notebook = None if quiet else notebook_display()

    def log(line: str) -> None:
        if notebook is not None:
            notebook(line, f"<code>{html.escape(line)}</code>")
        elif not console.is_terminal:
            console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        log(f"{what} ...")
        yield
    log(f"{what}: {time.monotonic() - began:.0f} s")


class TimeEstimate:
    """An estimate of the time left, measured on a few steps and logged once."""

    def __init__(self, *, first: int, steps: int, epochs: int, log: Callable[[str], None]) -> None:
        """Take the step that the training starts from, the numbers of steps and epochs, and a function that prints."""
        self._first, self._steps, self._epochs, self._log = first + _WARMUP, steps, epochs, log
        self._began = 0.0
        self._done = self._first >= steps

    def at(self, step: int, metrics: Any) -> None:
        """Register that `step` was dispatched; while steps are timed, wait until its `metrics` are computed."""
        if self._done or step < self._first:
            return
        jax.block_until_ready(metrics)
        now = time.monotonic()
        if step == self._first:
            self._began = now
        elif step - self._first >= _TIMED_STEPS or now - self._began >= _TIMED_SECONDS:
            self._done = True
            seconds = (now - self._began) / (step - self._first)
            if seconds * (self._steps - step) >= _SHORT:
                self._log(estimate(seconds, step, self._steps, self._epochs))


def estimate(seconds: float, step: int, steps: int, epochs: int) -> str:
    """Return a sentence on the time left at `step` of `steps` of `seconds` each; if it is long, suggest fewer epochs.

    Example:
      >>> estimate(0.5, 12, 2012, 100)
      'about 17 min left for 2,000 steps of 0.50 s; with --config.epochs=59, in another --workdir, 10 min in all'
    """
    sentence = f"about {duration(seconds * (steps - step))} left for {steps - step:,} steps of {seconds:.2f} s"
    shorter = max(1, int(epochs * _LONG / (seconds * steps)))
    if seconds * (steps - step) <= _LONG or shorter >= epochs:
        return sentence
    total = duration(seconds * steps * shorter / epochs)
    return f"{sentence}; with --config.epochs={shorter}, in another --workdir, {total} in all"
