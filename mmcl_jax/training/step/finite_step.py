"""Steps that are not finite: the check of all numbers, and the state after a skipped step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from mmcl_jax.training.state.train_state import TrainState


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Return whether no array of the tree holds NaN or an infinity.

    Example:
      >>> bool(all_finite({"kernel": jnp.ones(3), "bias": jnp.array([0.0, jnp.nan])}))
      False
    """
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not floats:
        return jnp.array(True)
    # Without the barrier, XLA for CPUs computes the conjunction of all N flags again in each of the operations that
    # choose the N arrays of a new state: N * N instructions, most of the program and of the time to compile it.
    return jax.lax.optimization_barrier(jnp.stack([jnp.isfinite(leaf).all() for leaf in floats])).all()


def skipped(state: TrainState) -> TrainState:
    """Return the state after a skipped step, in which only counters of steps advance.

    The optimizer's position in the learning-rate schedule advances too, so that the rate stays a function of the step.
    The counter of Adam's bias correction counts updates, and does not advance.
    """

    def next_position(part: Any) -> Any:
        return part._replace(count=part.count + 1) if _is_position(part) else part

    optimizer_state = jax.tree.map(next_position, state.optimizer_state, is_leaf=_is_position)
    return dataclasses.replace(state, step=state.step + 1, optimizer_state=optimizer_state)


def choose(condition: Bool[Array, ""], yes: TrainState, no: TrainState) -> TrainState:
    """Return `yes` where the condition holds, else `no`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _is_position(part: Any) -> bool:
    return isinstance(part, optax.ScaleByScheduleState)
