"""The section on time: where the seconds of the training went, by its own record and by its log."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.page import charts
from mmcl_jax.page.html import Html, element, name, section, table
from mmcl_jax.page.lines import Line, line_chart
from mmcl_jax.page.wording import number
from mmcl_jax.report.subject import Group, paragraph
from mmcl_jax.training.speed.times import PARTS, read_times


@dataclasses.dataclass(frozen=True)
class Spent:
    """The seconds of a training.

    Attributes:
      steps: number of the last logged step.
      seconds: of the training until then, without pauses between sessions.
      step: seconds per step, the median over the intervals of the log in which nothing else was measured.
      measuring: seconds of validation and monitoring, beyond the steps of those intervals.
      other: the rest, such as saving checkpoints, waiting for a busy machine and the first steps.
    """

    steps: int
    seconds: float
    step: float
    measuring: float
    other: float

    @property
    def stepping(self) -> float:
        """Seconds of the steps themselves."""
        return self.seconds - self.measuring - self.other


def spent(metrics: Sequence[Mapping[str, float]]) -> Spent | None:
    """Return where the seconds of a training went; None if fewer than two steps are logged.

    A line of the log covers the steps since the line before. Lines that have metrics of a validation pass or of the
    monitor also cover the time of these.
    """
    if len(metrics) < 2:
        return None
    steps = np.array([line["step"] for line in metrics])
    seconds = np.array([line["seconds"] for line in metrics])
    counts, lasted = np.diff(steps, prepend=0), np.diff(seconds, prepend=0)
    # A pass is run before the line of its step is written.
    measured = np.array([any(key.startswith(("validation/", "online/")) for key in line) for line in metrics])
    usable = counts > 0
    plain = usable & ~measured
    plain[0] = False  # the first interval has the start
    chosen = plain if plain.any() else usable
    step = float(np.median(lasted[chosen] / counts[chosen]))
    beyond = np.maximum(lasted - step * counts, 0)
    measuring = float(beyond[measured].sum())
    total = float(seconds[-1])
    stepping = min(step * float(steps[-1]), total - measuring)
    return Spent(int(steps[-1]), total, step, measuring, max(total - measuring - stepping, 0.0))


def timing(groups: Sequence[Group]) -> Html:
    """Return the section."""
    rows, bars, lines = [], [], []
    for colour, group in enumerate(groups):
        for subject in group.subjects:
            taken = spent(subject.metrics)
            if taken is None:
                continue
            batch = subject.run.config.batch_size
            per_second = 1 / taken.step if taken.step > 0 else float("nan")
            rows.append(
                [
                    name(subject.name),
                    duration(taken.seconds),
                    f"{taken.steps:,}",
                    f"{1e3 * taken.step:,.1f} ms",
                    number(per_second * batch),
                ]
            )
            if subject is group.first:
                parts = [("steps", taken.stepping), ("validation and monitor", taken.measuring), ("other", taken.other)]
                bar = charts.stacked([(text, round(value)) for text, value in parts], label="Seconds of the training")
                bars.append(element("li", element("span", name(subject.name)), bar))
                lines.append(_speed(subject.name, subject.metrics, colour))
    if not rows:
        return section("time", "Where the time went", paragraph("Fewer than two steps are logged yet.", kind="calm"))
    head = ["Run", "Training", "Steps", "One step", "Samples per second"]
    return section(
        "time",
        "Where the time went",
        table("Time of the trainings", head, rows, numeric={1, 2, 3, 4}),
        _recorded(groups),
        charts.legend(["Steps", "Validation and monitor", "Other: checkpoints, start, a busy machine"]),
        element("ul", bars, class_="flow"),
        element("div", line_chart("Steps per second", lines, x="step"), class_="charts"),
    )


def _recorded(groups: Sequence[Group]) -> Html | None:
    """Return a table of the parts of the time that the runs recorded; None if no run did."""
    recorded = {
        subject.name: times
        for group in groups
        for subject in group.subjects
        if (times := read_times(subject.run.directory)) is not None
    }
    parts = [part for part in PARTS if any(times.seconds[part] >= 0.5 for times in recorded.values())]
    if not parts:
        return None
    rows = [
        [
            name(title),
            str(times.sessions),
            *(duration(times.seconds[part]) for part in parts),
            f"{times.lost_steps:,}",
        ]
        for title, times in recorded.items()
    ]
    head = ["Run", "Sessions", *(PARTS[part].capitalize() for part in parts), "Steps done again"]
    return table("Time by part, over all sessions", head, rows, numeric=set(range(1, len(head))), captioned=True)


def _speed(title: str, metrics: Sequence[Mapping[str, float]], colour: int) -> Line:
    steps = [line["step"] for line in metrics]
    seconds = np.diff([line["seconds"] for line in metrics])
    rates = np.divide(np.diff(steps), seconds, out=np.full(len(seconds), np.nan), where=seconds > 0)
    return Line(title, steps[1:], rates.tolist(), colour)


def duration(seconds: float) -> str:
    """Return seconds in words.

    Example:
      >>> duration(42.4), duration(200), duration(9000)
      ('42 s', '3.3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
