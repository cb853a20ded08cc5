"""What a user is told before the first steps are done: that the program compiles, and how long training will take."""

import contextlib
import html
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mmcl_jax.progress import notebook_display

_SHORT = 10.0  # seconds that are not worth a line
_LONG = 600.0  # seconds above which a shorter training is suggested, and what it should take
_FIRST, _MOST, _ENOUGH = 2, 10, 5.0  # steps before the clock starts, steps on the clock, seconds that are enough


@contextlib.contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show that work is going on: a spinner on a terminal, one line in a notebook, else a line before and after."""
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


class Outlook:
    """Times a few steps, and says once how long the others will take."""

    def __init__(self, *, first: int, steps: int, epochs: int, log: Callable[[str], None]) -> None:
        """Take the step that the training starts from, the number of steps and epochs, and a function to print with."""
        self._first, self._steps, self._epochs, self._log = first + _FIRST, steps, epochs, log
        self._began = 0.0
        self._said = first + _FIRST >= steps

    def at(self, step: int, metrics: Any) -> None:
        """Take notice that `step` was dispatched; while steps are timed, wait until its `metrics` are computed."""
        if self._said or step < self._first:
            return
        jax.block_until_ready(metrics)
        now = time.monotonic()
        if step == self._first:
            self._began = now
        elif step - self._first >= _MOST or now - self._began >= _ENOUGH:
            self._said = True
            each = (now - self._began) / (step - self._first)
            if each * (self._steps - step) >= _SHORT:
                self._log(estimate(each, step, self._steps, self._epochs))


def estimate(seconds: float, step: int, steps: int, epochs: int) -> str:
    """Return a sentence on the time left at `step` of `steps`, at so many `seconds` each; if it is long, a remedy.

    Example:
      >>> estimate(0.5, 12, 2012, 100)
      'about 17 min left for 2,000 steps of 0.50 s; with --config.epochs=59, in another --workdir, 10 min in all'
    """
    sentence = f"about {_duration(seconds * (steps - step))} left for {steps - step:,} steps of {seconds:.2f} s"
    shorter = max(1, int(epochs * _LONG / (seconds * steps)))
    if seconds * (steps - step) <= _LONG or shorter >= epochs:
        return sentence
    whole = _duration(seconds * steps * shorter / epochs)
    return f"{sentence}; with --config.epochs={shorter}, in another --workdir, {whole} in all"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
