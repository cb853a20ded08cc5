"""The wall time and the size of the rivals of a table encoder."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import Grid, protocol_words
from mmcl_jax.page.wording import count
from mmcl_jax.text import visible


def size_of(cost: dict[str, float]) -> str:
    """Return the size of a model in words.

    >>> size_of({"seconds": 1.0, "leaves": 1200.0})
    '1,200 leaves'
    """
    return ", ".join(f"{count(round(cost[what]))} {what}" for what in ("parameters", "leaves") if what in cost)


def mean_cost(scores: Sequence[Score]) -> dict[str, float]:
    """Return the mean of every cost of scores of one method."""
    return {name: float(np.mean([score.cost[name] for score in scores])) for name in scores[0].cost}


def cost_grids(scores: Sequence[Score]) -> list[Grid]:
    """Return the table of seconds (of all trials) and sizes (of the chosen model), if a score has a cost."""
    groups: dict[tuple[str, str, str, str], list[Score]] = {}
    for score in scores:
        if score.cost:
            groups.setdefault((score.protocol, score.input, score.label, score.budget), []).append(score)
    rows = []
    for (protocol, input, label, budget), part in groups.items():
        cost = mean_cost(part)
        how = protocol_words(protocol, input)
        rows.append([how, visible(label), visible(budget), f"{cost['seconds']:.1f} s", size_of(cost)])
    title = "Cost of the rivals: time of all trials, size of the chosen model (means)"
    return [Grid(title, ["how", "label", "labels", "time", "size"], rows, labels=3)] if rows else []
