"""Where the time of a training goes, on the clock of its first process.

The accelerator works while the host draws the next batch or saves, so that only the time in which no dispatched step is
running counts for anything but the steps. `Watch` notes when each step is done.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from mmcl_jax.border import to_json
from mmcl_jax.border.checksum import with_checksum
from mmcl_jax.files import write_text
from mmcl_jax.training.speed.times import FILE, INSIDE, Times, times_before

_BETWEEN_WRITES = 10.0  # seconds


class Watch:
    """A thread that notes when each dispatched step is done, without holding up the thread that dispatches."""

    def __init__(self) -> None:
        self.dispatched, self.done = 0, 0  # the number of steps
        self.done_at = time.monotonic()  # when the last of them was done
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="steps")
        self._thread.start()

    def step(self, result: Any) -> None:
        """Note that a step was dispatched which gives this result."""
        self.dispatched += 1
        self._queue.put(result)

    def idle(self, since: float) -> float:
        """Return the seconds after `since` in which no dispatched step was running."""
        if self.done < self.dispatched:
            return 0.0
        return max(0.0, time.monotonic() - max(since, self.done_at))

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (result := self._queue.get()) is not None:
            with contextlib.suppress(Exception):  # the thread that reads the result raises it
                jax.block_until_ready(result)
            self.done_at = time.monotonic()
            self.done += 1


class Clock:
    """The clock of one session, whose times are written into the run's `times.json`."""

    def __init__(self, directory: Path, *, start: int, seconds: float, compiled: float, writes: bool) -> None:
        """Begin the session.

        Args:
          directory: of the run.
          start: the step that the session starts from.
          seconds: trained before it.
          compiled: the seconds that were spent compiling.
          writes: whether this process writes.
        """
        self._watch, self._step = Watch(), start
        self._path, self._writes = directory / FILE, writes
        self._before = times_before(directory, start, seconds) if writes else Times()
        self._inside = dict.fromkeys(INSIDE, 0.0)
        self._compiled, self._start, self._seconds = compiled, start, seconds
        self._began = self._written = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds trained, without those of steps that were done again."""
        return time.monotonic() - self._began + self._seconds

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside for a part, as far as no step was running meanwhile."""
        since = time.monotonic()
        yield
        self._inside[name] += self._watch.idle(since)

    def dispatched(self, step: int, result: Any) -> None:
        """Note that a step was dispatched which gives this result."""
        self._step = step
        self._watch.step(result)

    def stepping(self) -> tuple[float, float]:
        """Return the seconds of this session for steps and their input, and those of waiting for input alone."""
        others = sum(value for part, value in self._inside.items() if part != "input")
        return time.monotonic() - self._began - others, self._inside["input"]

    def session(self) -> Times:
        """Return the times of this session."""
        stepping, waited = self.stepping()
        times = Times(sessions=1)
        times.seconds |= {**self._inside, "compile": self._compiled, "step": stepping - waited}
        return times

    def times(self) -> Times:
        """Return the times of all sessions."""
        return self._before.plus(self.session())

    def write(self, *, now: bool = False) -> None:
        """Write the times, if the last time is ten seconds ago or with `now`."""
        if not self._writes or not (now or time.monotonic() - self._written >= _BETWEEN_WRITES):
            return
        self._written = time.monotonic()
        session = {
            **self.session().to_dict(),
            "first": self._start,
            "step": self._step,
            "clock": round(self.seconds, 3),
        }
        with contextlib.suppress(OSError):  # the file only informs; the training needs other files
            content = {"before": self._before.to_dict(), "session": session}
            write_text(self._path, to_json(with_checksum(content)) + "\n")

    def close(self) -> None:
        """Write the times, and end the watch."""
        self.write(now=True)
        self._watch.close()
