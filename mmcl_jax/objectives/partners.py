"""The stages of a term that choose partners for every row and compare the row with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.objectives.base import Term
from mmcl_jax.objectives.stages import EachPair, Fuse, Layers, Whole

# (function of arrays [b, ...], arrays [B, ...]) -> its results [B, ...], computed slice by slice
InSlices = Callable[[Callable[[Any], Any], Any], Any]


def at_once(function: Callable[[Any], Any], rows: Any) -> Any:
    """Return the function's result on all rows, in one call."""
    return function(rows)


def with_partners(
    term: Term, batch: Whole, layers: Layers, in_slices: InSlices = at_once, fuse: Fuse | None = None
) -> Any:
    """Return the result of the stage `each_pair` on every row and the partners that `choose` chose, arrays `[B, ...]`.

    A negative index means no partner: `partners_present` is False there, and the values are another row's. Only the
    result of a slice is stored; the backward pass computes the rest again.
    """
    assert term.choose is not None
    assert term.each_pair is not None
    each_pair = term.each_pair
    indices = term.choose(batch.fixed())
    rows = {"values": batch.embeddings if term.each is None else batch.each, "present": batch.present}

    @jax.checkpoint
    def one_slice(part: Any) -> Any:
        own, index = part
        partners = jax.tree.map(lambda array: array[jnp.maximum(index, 0)], rows)
        exists = index >= 0
        return each_pair(
            EachPair(
                own=own["values"],
                partners=partners["values"],
                layers=layers,
                learned=batch.learned,
                present=own["present"],
                fuser=fuse,
                partners_present=exists if partners["present"] is None else exists & partners["present"],
            )
        )

    return in_slices(one_slice, (rows, indices))
