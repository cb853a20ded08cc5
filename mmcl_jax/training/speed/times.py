"""Where the time of a training went: the record in `times.json` of its run."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from mmcl_jax.border import AtLeast, Open, read_summed
from mmcl_jax.errors import UserError
from mmcl_jax.text import visible
from mmcl_jax.training.runs.logged import read_log, values_of

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


_Seconds = Annotated[float, AtLeast(0)]
_Count = Annotated[int, AtLeast(0)]


@dataclasses.dataclass(kw_only=True)
class Times:
    """Seconds by part, over all sessions of a training.

    Attributes:
      seconds: by part of `PARTS`. "lost" are steps, with all that was done between them, that a kill made a later
        session do again.
      sessions: the number of sessions.
      lost_steps: the number of steps that were done again.
    """

    seconds: dict[str, _Seconds] = dataclasses.field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    sessions: _Count = 0
    lost_steps: _Count = 0

    def __post_init__(self) -> None:
        """Add the parts that the version which wrote the times did not know."""
        self.seconds = {part: self.seconds.get(part, 0.0) for part in PARTS}

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


class _Session(TypedDict):
    seconds: dict[str, _Seconds]
    sessions: _Count
    lost_steps: _Count
    first: _Count
    step: _Count
    clock: _Seconds


class _File(TypedDict):
    before: Annotated[Times, Open]
    session: Annotated[_Session, Open]


def read_times(directory: Path) -> Times | None:
    """Return where the time of a run went; None where nothing is recorded.

    Raises:
      UserError: the file is damaged.
    """
    content = _read(directory, "remove it, since the times are all that it holds")
    return None if content is None else content["before"].plus(_times(content["session"]))


def times_before(directory: Path, start: int, seconds: float) -> Times:
    """Return the times of earlier sessions, with what the last session did beyond `start` counted as lost.

    Times that cannot be read are left out, with a line on standard error.
    """
    try:
        content = _read(directory, "the times of earlier sessions are left out")
    except UserError as error:
        print(visible(error), file=sys.stderr)
        content = None
    if content is None:
        return Times()
    before, session = content["before"], content["session"]
    last, first, step, clock = _times(session), session["first"], session["step"], session["clock"]
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


def _read(directory: Path, remedy: str) -> _File | None:
    path = directory / FILE
    return read_summed(path, _File, remedy) if path.exists() else None


def _times(session: _Session) -> Times:
    return Times(seconds=session["seconds"], sessions=session["sessions"], lost_steps=session["lost_steps"])


def _last_logged(directory: Path) -> tuple[int, float]:
    """Return the step of the last line of the log, and its seconds; zeros if nothing is logged."""
    for line in reversed(read_log(directory).lines):
        try:
            values = values_of(line)
        except ValueError:  # the log of the next session tells it
            continue
        return int(values["step"]), values["seconds"]
    return 0, 0.0
