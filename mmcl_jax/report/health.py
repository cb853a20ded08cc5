"""The checks that tell at a glance whether a training went well, from its log."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.errors import UserError
from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.page.wording import count, counted, number
from mmcl_jax.training.faults import Fault, Kind, describe, read_faults
from mmcl_jax.training.runs.status import read_status


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: whether it is `good`, and what was found, in a sentence."""

    good: bool
    sentence: str


def checks(directory: Path, metrics: Sequence[Mapping[str, float]]) -> list[Check]:
    """Return the checks of a run, the failed first: its end, the loss, skipped steps, faults, and overfitting.

    Args:
      directory: of the run, for its `status.json`.
      metrics: its log; a run without a log has one failed check.
    """
    if not metrics:
        return [Check(False, "No step is logged yet.")]
    last = metrics[-1]
    found = [*_end(directory), _loss(metrics), _skipped(last), _finite(metrics), *_faults(directory)]
    deviations = {key.removeprefix("deviation/"): last[key] for key in last if key.startswith("deviation/")}
    collapsed = [view for view, value in deviations.items() if value < COLLAPSED]
    if collapsed:
        found.append(Check(False, f"The embeddings of {' and '.join(collapsed)} have collapsed to one point."))
    elif deviations:
        lowest = min(deviations.values())
        found.append(Check(True, f"No view has collapsed (the lowest deviation is {number(lowest)})."))
    losses = [line["validation/loss"] for line in metrics if math.isfinite(line.get("validation/loss", math.nan))]
    if len(losses) > 1:
        best, end = min(losses), losses[-1]
        worse = end > best + 0.1 * abs(best)
        words = f"The validation loss ends at {number(end)}; its lowest was {number(best)}"
        found.append(
            Check(not worse, f"{words}: the run overfits, so evaluate --checkpoint best." if worse else f"{words}.")
        )
    return sorted(found, key=lambda check: check.good)


def _faults(directory: Path) -> list[Check]:
    """Return the numbers that went wrong; a view that has collapsed at the end is told from the last metrics."""
    began: dict[tuple[Kind, str], Fault] = {}
    spans: list[tuple[Fault, int | None]] = []
    for fault in read_faults(directory):
        if not fault.ended:
            began[fault.kind, fault.name] = fault
        elif (first := began.pop((fault.kind, fault.name), None)) is not None:
            spans.append((first, fault.step))
    spans += [(fault, None) for fault in began.values() if fault.kind != "collapse"]
    groups: dict[tuple[Kind, int, int | None], list[Fault]] = {}
    for fault, end in spans:
        groups.setdefault((fault.kind, fault.step, end), []).append(fault)
    return [
        Check(
            False,
            f"From step {start:,} {'on' if end is None else f'to step {end:,}'}, "
            f"{describe(kind, [fault.name for fault in faults], faults[0].value)}.",
        )
        for (kind, start, end), faults in groups.items()
    ]


def _end(directory: Path) -> list[Check]:
    """Return whether the training is complete; [] if an earlier version trained the run, which did not record it."""
    try:
        status = read_status(directory)
    except UserError as error:
        return [Check(False, str(error))]
    if status is None:
        return []
    if status["state"] == "finished":
        return [Check(True, f"The training is complete, after {counted(status['step'], 'step')}.")]
    words = {"training": "is running, or was killed", "failed": "failed"}.get(status["state"], "was stopped")
    steps = f"{count(status['steps'])} steps in all"
    return [Check(False, f"The training {words}; the command that began it continues it ({steps}).")]


def _loss(metrics: Sequence[Mapping[str, float]]) -> Check:
    values = np.array([line.get("loss", math.nan) for line in metrics])
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Check(
            len(values) == 1, "Fewer than two losses are logged." if len(values) else "No finite loss is logged."
        )
    part = max(1, len(values) // 10)
    start, end = float(values[:part].mean()), float(values[-part:].mean())
    words = f"The loss went from {number(start)} to {number(end)}"
    return Check(end < start, f"{words}." if end < start else f"{words}: it did not fall.")


def _skipped(last: Mapping[str, float]) -> Check:
    skipped = int(last.get("skipped", 0))
    if skipped:
        return Check(False, f"{counted(skipped, 'step')} of {int(last['step']):,} were skipped, see skipped.jsonl.")
    return Check(True, "No step was skipped.")


def _finite(metrics: Sequence[Mapping[str, float]]) -> Check:
    wrong = sum(not math.isfinite(line.get("loss", 0.0)) for line in metrics)
    if wrong:
        return Check(False, f"The loss was not finite in {counted(wrong, 'logged step')}.")
    return Check(True, "Every logged loss is finite.")
