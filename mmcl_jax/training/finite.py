"""Weights that are not finite: nothing can be measured with them."""

from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.errors import check

REMEDY = (
    "remove that step's folder to go back to the checkpoint before, if there is one, or pretrain anew in another "
    "--workdir with a lower config.schedule.learning_rate"
)


def is_finite(arrays: Any) -> bool:
    """Return whether every number of a tree of arrays is finite; keys and integers always are."""
    floats = [one for one in jax.tree.leaves(arrays) if jnp.issubdtype(one.dtype, jnp.inexact)]
    return bool(_all_finite(floats)) if floats else True


def check_finite(arrays: Any, what: str, *, remedy: str = REMEDY) -> None:
    """Raise `UserError` if a number of a tree of arrays is not finite; `what` names the run and the step."""
    check(is_finite(arrays), f"The weights of {what} are not finite, so nothing can be measured with them; {remedy}.")


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(array).all() for array in arrays]).all()
