"""Where the time of a training went: the record in `times.json` of its run."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

FILE = "times.json"
SPEED = "speed/"  # what the names of metrics of speed begin with
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
INSIDE = ("input", "checkpoint", "validation", "monitor", "profile")  # measured inside the loop; the rest are steps


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


def times_before(directory: Path, start: int, seconds: float) -> Times:
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
        for part in ("step", *INSIDE):
            last.seconds[part] *= 1 - lost / inside
        last.seconds["lost"], last.lost_steps = lost, step - max(start, first)
    return before.plus(last)


def _last_logged(directory: Path) -> tuple[int, float]:
    """Return the step of the last line of the log, and its seconds; zeros if nothing is logged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        lines = (directory / "metrics.jsonl").read_text().split("\n")  # the last is not whole, or empty
        line = json.loads(lines[-2]) if len(lines) > 1 else {}
        return int(line["step"]), float(line["seconds"])
    return 0, 0.0
