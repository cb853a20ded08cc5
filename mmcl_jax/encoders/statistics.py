"""Running statistics of batch normalisation where rows are absent: slices of a batch count by their valid groups.

As long as every slice has as many valid groups, the new state of the whole batch is the mean of those of its slices.
With absent rows it is not. So a layer that is told what is present keeps a record of every call beside its statistics,
under `RECORDS`; `apart` separates the two, and `replayed` makes the state after all slices of the records.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

RECORDS = "records"
_STATISTICS = ("mean", "var")
Arrays = dict[Any, Any]  # nested; the keys of lists are numbers


class Record(nnx.Variable):
    """One call of a layer in training.

    A dict of `mean` and `var` (means over the valid groups, `[C]`), `groups` (the number of these), `momentum`, and
    `before`, the running statistics before the call.
    """


def moved(old: Array, new: Array, *, momentum: Array | float, groups: Array) -> Array:
    """Return a running statistic after a call with so many valid groups; without any, it stays."""
    return jnp.where(groups > 0, momentum * old + (1 - momentum) * new, old)


def apart(state: Arrays) -> tuple[Arrays, Arrays]:
    """Return the model state without the records in it, and the records."""
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
    """Return the model state with the statistics of all layers that have records replaced.

    The records are those of all slices of a batch, along their first axis. The result is what the layers would have
    kept of the whole batch at once.
    """
    if RECORDS not in records:
        return {name: replayed(value, records[name]) if name in records else value for name, value in state.items()}
    calls = [call for _, call in sorted(records[RECORDS].items())]
    found = {name: calls[0]["before"][name].mean(axis=0) for name in _STATISTICS}
    for call in calls:
        groups = call["groups"].sum()
        for name in _STATISTICS:
            new = jnp.tensordot(call["groups"], call[name], axes=1) / jnp.maximum(groups, 1)
            found[name] = moved(found[name], new, momentum=call["momentum"][0], groups=groups)
    return {**state, **found}
