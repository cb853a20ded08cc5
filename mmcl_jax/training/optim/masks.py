"""Which arrays an optimizer decays, or scales by their trust ratio."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import optax

Arrays = Literal["all", "matrices"]


def is_matrix(path: Sequence[Any], array: Any) -> bool:
    """Return whether a parameter is the kernel of a layer or an embedding: neither a bias nor the scale of a norm.

    A bias may have several axes, such as one per column of a table, so names count beside the number of axes.
    """
    return array.ndim > 1 and str(getattr(path[-1], "key", "") if path else "") not in ("bias", "scale")


def matrices(params: optax.Params) -> Any:
    """Return a tree of the structure of the parameters that says which are matrices.

    Example:
      >>> import jax.numpy as jnp
      >>> matrices({"layer": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}})
      {'layer': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(is_matrix, params)


def decayed(weight_decay: float, arrays: Arrays) -> optax.GradientTransformation:
    """Return the part of an optimizer that adds `weight_decay` times the parameters, all or the matrices alone."""
    return optax.add_decayed_weights(weight_decay, mask=None if arrays == "all" else matrices)


def on(arrays: Arrays, part: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return a part of an optimizer that changes the updates of all arrays, or of the matrices alone."""
    return part if arrays == "all" else optax.masked(part, matrices)
