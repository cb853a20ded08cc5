"""Progress: a bar with the time left on a terminal and in a notebook, plain lines in a log."""

import html
import importlib
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmcl_jax.text import visible

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_BARS = 0.2  # in a notebook
_MEASURED_SECONDS = 3.0  # before an estimate
_LONG_SECONDS = 60.0


class Bar:
    """A progress bar for work with a known number of steps, used as a context manager.

    A `quiet` bar shows nothing; all but the first of several processes use one.
    """

    def __init__(self, what: str, total: int, *, start: int = 0, quiet: bool = False) -> None:
        what = visible(what)
        self._what, self._total, self._start, self._done = what, total, start, start
        self._console = Console(stderr=True, quiet=quiet)
        self._begun = self._last_line = time.monotonic()
        self._text = ""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total, completed=start, text="")
        self._notebook = None if quiet else notebook_display()

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._show(last=True)
        self._progress.stop()

    def advance(self, more: int) -> None:
        """Count `more` steps as done."""
        self.update(self._done + more)

    def update(self, done: int, text: str | None = None) -> None:
        """Set the number of steps `done`; `text` is shown after the bar until the next update."""
        self._done, self._text = done, self._text if text is None else visible(text)
        self._show()

    def _show(self, *, last: bool = False) -> None:
        if self._console.is_terminal:
            self._progress.update(self._task, completed=self._done, text=self._text)
            return
        now = time.monotonic()
        between = _SECONDS_BETWEEN_LINES if self._notebook is None else _SECONDS_BETWEEN_BARS
        first = self._notebook is not None and self._last_line == self._begun
        if not (first or last) and now - self._last_line < between:
            return
        self._last_line = now
        elapsed = now - self._begun
        left = elapsed / max(self._done - self._start, 1) * (self._total - self._done)
        line = f"{self._what} {self._done}/{self._total}, {elapsed:.0f} s, {left:.0f} s left  {self._text}".rstrip()
        if self._notebook is not None:
            self._notebook(line, _bar(self._done, self._total, line))
            return
        self._console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


class Foresight:
    """One line, printed once, when work that has begun will take more than a minute.

    Args:
      what: the work, such as "decoding the images".
      total: the number of its steps.
      advice: how it would take less time, or "".
    """

    def __init__(self, what: str, total: int, advice: str = "") -> None:
        self._what, self._total, self._advice = what, total, advice
        self._first, self._began, self._told = 0, 0.0, False

    def update(self, done: int) -> None:
        """Set the number of steps done; the time is measured from the first call on."""
        now = time.monotonic()
        if not self._began:
            self._first, self._began = done, now
        elif not self._told and now - self._began >= _MEASURED_SECONDS and done > self._first:
            self._told = True
            seconds = (now - self._began) / (done - self._first)
            left = seconds * (self._total - done)
            if left > _LONG_SECONDS:
                line = f"{self._what}: about {duration(left)} left for {self._total - done:,} of {self._total:,}"
                line = visible(f"{line}; {self._advice}" if self._advice else line)
                Console(stderr=True).print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(72), duration(900), duration(9000)
    ('72 s', '15 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def notebook_display() -> Callable[[str, str], None] | None:
    """Return a function that shows a text, and its HTML, in place of the last one; None outside notebooks.

    It needs no widgets.
    """
    # In a notebook, IPython is imported already.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):  # a terminal's IPython has no kernel
        return None
    display = importlib.import_module("IPython.display").display
    handle = None

    def show(text: str, shown: str) -> None:
        nonlocal handle
        content = {"text/plain": text, "text/html": shown}
        if handle is None:
            handle = display(content, raw=True, display_id=True)
        else:
            handle.update(content, raw=True)

    return show


def _bar(done: int, total: int, line: str) -> str:
    escaped = html.escape(line)
    return f'<progress value="{done}" max="{max(total, 1)}" style="width:20em"></progress> <code>{escaped}</code>'


def discard(line: str) -> None:
    """Drop a line that a process other than the first would print."""
