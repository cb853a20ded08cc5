"""Fits that go on in rounds until validation is no better: the best round is returned."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from mmcl_jax.evaluation.protocols.rivals.base import RivalData


def best_round(
    data: RivalData, step: Callable[[int], Any], outputs: Callable[[Any, np.ndarray], np.ndarray], *, most: int,
    patience: int,
) -> tuple[Any, int]:  # fmt: skip
    """Return a copy of the model of the best round, and the number of the round from 1.

    Args:
      data: with the validation rows.
      step: goes on to a round and returns the model, which it may change in a later round.
      outputs: of a model, for rows.
      most: rounds.
      patience: rounds without improvement after which the fit ends.
    """
    best: tuple[float, Any, int] | None = None
    for number in range(1, most + 1):
        model = step(number)
        value = data.value(outputs(model, data.val))
        if best is None or data.task.better(value, best[0]):
            best = value, copy.deepcopy(model), number
        elif number - best[2] >= patience:
            break
    assert best is not None
    return best[1], best[2]
