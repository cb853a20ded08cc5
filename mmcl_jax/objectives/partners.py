"""The stages of a term that look at chosen partners of every row."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.objectives.base import Term
from mmcl_jax.objectives.stages import EachPair, Fuse, Layers, Whole

# (function of arrays [b, ...], arrays [B, ...]) -> its results [B, ...], found slice by slice
InSlices = Callable[[Callable[[Any], Any], Any], Any]


def at_once(function: Callable[[Any], Any], rows: Any) -> Any:
    """Return what the function gives of all rows at once."""
    return function(rows)


def with_partners(
    term: Term, given: Whole, layers: Layers, in_slices: InSlices = at_once, fuse: Fuse | None = None
) -> Any:
    """Return what the stage `each_pair` gives of every row and of the partners that `choose` chose, arrays `[B, ...]`.

    Where an index is negative, there is no partner: it is not present, and another row's values stand in for it. Of a
    slice nothing but the result is kept: the gradient computes the rest again.
    """
    assert term.choose is not None
    assert term.each_pair is not None
    each_pair = term.each_pair
    chosen = term.choose(given.fixed())
    rows = {"kept": given.embeddings if term.each is None else given.each, "present": given.present}

    @jax.checkpoint
    def one(part: Any) -> Any:
        own, partners = part
        theirs = jax.tree.map(lambda array: array[jnp.maximum(partners, 0)], rows)
        there = partners >= 0
        return each_pair(
            EachPair(
                own=own["kept"],
                partners=theirs["kept"],
                layers=layers,
                learned=given.learned,
                present=own["present"],
                fuser=fuse,
                partners_present=there if theirs["present"] is None else there & theirs["present"],
            )
        )

    return in_slices(one, (rows, chosen))
