"""Where the time of a training goes, on the clock of its first process.

The accelerator works while the host draws the next batch or saves, so that only the time in which no dispatched step is
running counts for anything but the steps. `Watch` notes when each step is done.
"""

import contextlib
import dataclasses
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import jax

from mmcl_jax.files import write_text

FILE = "times.json"
# The parts of the time, and what is shown for them. "compile" comes before the clock of the log (`seconds`) starts.
PARTS = {
    "compile": "compiling",
    "input": "waiting for input",
    "step": "steps",
    "checkpoint": "checkpoints",
    "validation": "validation",
    "monitor": "monitor",
    "profile": "profile",
    "lost": "lost to restarts",
}
_INSIDE = ("input", "checkpoint", "validation", "monitor", "profile")  # measured inside the loop; the rest are steps
_BETWEEN_WRITES = 10.0  # seconds


@dataclasses.dataclass(kw_only=True)
class Times:
    """Seconds by part, over all sessions of a training.

    Attributes:
      seconds: by part of `PARTS`. "lost" are steps, with all that was done between them, that a kill made a later
        session do again.
      sessions: the number of sessions.
      lost_steps: the number of steps that were done again.
    """

    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    sessions: int = 0
    lost_steps: int = 0

    @property
    def total(self) -> float:
        """The seconds of all parts together."""
        return sum(self.seconds.values())

    @property
    def input_share(self) -> float:
        """The share of the time of steps in which the accelerator waited for input; NaN before the first step."""
        stepping = self.seconds["step"] + self.seconds["input"]
        return self.seconds["input"] / stepping if stepping > 0 else float("nan")

    def plus(self, other: "Times") -> "Times":
        """Return the sum with the times of other sessions."""
        seconds = {part: self.seconds[part] + other.seconds[part] for part in PARTS}
        sessions, lost_steps = self.sessions + other.sessions, self.lost_steps + other.lost_steps
        return Times(seconds=seconds, sessions=sessions, lost_steps=lost_steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the times as JSON values."""
        return {
            "seconds": {part: round(value, 3) for part, value in self.seconds.items()},
            "sessions": self.sessions,
            "lost_steps": self.lost_steps,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Return the times that `to_dict` wrote.

        Raises:
          ValueError, KeyError, TypeError: the content is something else.
        """
        seconds = {part: float(content["seconds"].get(part, 0.0)) for part in PARTS}
        return cls(seconds=seconds, sessions=int(content["sessions"]), lost_steps=int(content["lost_steps"]))

    def rows(self) -> list[tuple[str, float]]:
        """Return what is shown of each part that took time, and its seconds; the longest first."""
        shown = [(PARTS[part], seconds) for part, seconds in self.seconds.items() if seconds >= 0.05]
        return sorted(shown, key=lambda row: -row[1])

    def table(self) -> str:
        """Return the parts as lines of a table.

        Example:
          >>> times = Times(seconds={**Times().seconds, "compile": 20.0, "step": 75.0, "input": 5.0})
          >>> print(times.table())
          steps               75.0 s  75 %
          compiling           20.0 s  20 %
          waiting for input    5.0 s   5 %
        """
        rows, total = self.rows(), self.total
        words = max((len(name) for name, _ in rows), default=0)
        width = max((len(f"{seconds:,.1f}") for _, seconds in rows), default=0) + 3
        again = {PARTS["lost"]: f"  ({self.lost_steps:,} steps done again)"}
        return "\n".join(
            f"{name:<{words}}{seconds:>{width},.1f} s {100 * seconds / total:>3.0f} %{again.get(name, '')}"
            for name, seconds in rows
        )


def read_times(directory: Path) -> Times | None:
    """Return where the time of a run went; None where nothing, or nothing readable, is recorded."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads((directory / FILE).read_text())
        return Times.of(content["before"]).plus(Times.of(content["session"]))
    return None


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
        self._before = _before(directory, start, seconds) if writes else Times()
        self._inside = dict.fromkeys(_INSIDE, 0.0)
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
            write_text(self._path, json.dumps({"before": self._before.to_dict(), "session": session}) + "\n")

    def close(self) -> None:
        """Write the times, and end the watch."""
        self.write(now=True)
        self._watch.close()


def _before(directory: Path, start: int, seconds: float) -> Times:
    """Return the times of earlier sessions, with what the last session did beyond `start` counted as lost."""
    try:
        content = json.loads((directory / FILE).read_text())
        before, last, session = Times.of(content["before"]), Times.of(content["session"]), content["session"]
        first, step, clock = int(session["first"]), int(session["step"]), float(session["clock"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Times()
    logged_step, logged_seconds = _last_logged(directory)
    if logged_step > step:  # it was killed after the times were last written
        last.seconds["step"] += max(0.0, logged_seconds - clock)
        step, clock = logged_step, max(clock, logged_seconds)
    inside = last.total - last.seconds["compile"]
    lost = min(max(0.0, clock - seconds), inside) if step > start else 0.0
    if lost:
        for part in ("step", *_INSIDE):
            last.seconds[part] *= 1 - lost / inside
        last.seconds["lost"], last.lost_steps = lost, step - max(start, first)
    return before.plus(last)


def _last_logged(directory: Path) -> tuple[int, float]:
    """Return the step of the last line of the log, and its seconds; zeros if nothing is logged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        lines = (directory / "metrics.jsonl").read_text().splitlines(keepends=True)
        line = json.loads(next(line for line in reversed(lines) if line.endswith("\n")))
        return int(line["step"]), float(line["seconds"])
    return 0, 0.0
