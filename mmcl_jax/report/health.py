"""The checks that tell at a glance whether a training went well, from its log."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from mmcl_jax.objectives import COLLAPSED
from mmcl_jax.page.wording import counted, number


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: whether it is `good`, and what was found, in a sentence."""

    good: bool
    sentence: str


def checks(metrics: Sequence[Mapping[str, float]]) -> list[Check]:
    """Return the checks of a log, the failed first: the loss, steps that were skipped, collapse, and overfitting.

    A run without a log has one failed check.
    """
    if not metrics:
        return [Check(False, "No step is logged yet.")]
    last = metrics[-1]
    found = [_loss(metrics), _skipped(last), _finite(metrics)]
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
