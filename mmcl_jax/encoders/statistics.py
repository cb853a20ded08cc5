"""Running statistics of batch normalisation where rows are absent: slices of a batch count by their valid groups.

If every slice of a batch has the same number of valid groups, the new state of the batch is the mean of the new states
of its slices. With absent rows the numbers differ. So a layer that is called with a mask `present` adds a record of the
call to its state, under `RECORDS`; `apart` separates the records, and `replayed` computes the state after all slices.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

RECORDS = "records"
_STATISTICS = ("mean", "var")
Arrays = dict[Any, Any]  # nested; the keys of lists are numbers


class Record(nnx.Variable):
    """A record of one training call of a layer.

    A dict of `mean` and `var` (means over the valid groups, `[C]`), `groups` (the number of valid groups), `momentum`,
    and `before`, the running statistics before the call.
    """


def update_statistic(old: Array, new: Array, *, momentum: Array | float, groups: Array) -> Array:
    """Return the running statistic after a call with `groups` valid groups; 0 groups leave it unchanged."""
    return jnp.where(groups > 0, momentum * old + (1 - momentum) * new, old)


def apart(state: Arrays) -> tuple[Arrays, Arrays]:
    """Separate a model state into the state without records, and the records."""
    plain, records = {}, {}
    for name, value in state.items():
        if name == RECORDS:
            records[name] = value
        elif isinstance(value, dict):
            plain[name], below = apart(value)
            if below:
                records[name] = below
        else:
            plain[name] = value
    return plain, records


def replayed(state: Arrays, records: Arrays) -> Arrays:
    """Return the model state with the statistics of every recorded layer computed from its records.

    The records of all slices of a batch are stacked along the first axis. The statistics are those of one call with the
    whole batch.
    """
    if RECORDS not in records:
        return {name: replayed(value, records[name]) if name in records else value for name, value in state.items()}
    calls = [call for _, call in sorted(records[RECORDS].items())]
    statistics = {name: calls[0]["before"][name].mean(axis=0) for name in _STATISTICS}
    for call in calls:
        groups = call["groups"].sum()
        for name in _STATISTICS:
            new = jnp.tensordot(call["groups"], call[name], axes=1) / jnp.maximum(groups, 1)
            statistics[name] = update_statistic(statistics[name], new, momentum=call["momentum"][0], groups=groups)
    return {**state, **statistics}
