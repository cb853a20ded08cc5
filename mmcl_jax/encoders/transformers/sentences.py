"""The maximum over the tokens of a sentence."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import zero_absent


def greatest(vectors: Float[Array, "B T D"], within: Bool[Array, "B M T"]) -> Float[Array, "B M D"]:
    """Return the maximum of every component over the tokens within each of M sets, zeros for a set without tokens.

    The gradient of a component goes to the first token that has the maximum. Only the index of that token is kept for
    the gradient, not an array with T and M axes.

    Example:
      >>> vectors = jnp.array([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]]])
      >>> greatest(vectors, jnp.array([[[True, True, False], [False, False, False]]])).tolist()
      [[[3.0, -2.0], [0.0, 0.0]]]
    """
    least = jnp.array(-jnp.inf, vectors.dtype)
    seen = jnp.where(within[:, :, :, None], jax.lax.stop_gradient(vectors)[:, None], least)
    index = seen.argmax(axis=2)
    return zero_absent(jnp.take_along_axis(vectors, index, axis=1, mode="clip"), within.any(axis=2))
