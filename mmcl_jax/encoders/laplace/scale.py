"""The scale of a Laplace posterior."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LEAST = 1e-6


def posterior_scale(raw: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """Return D softmax(raw) + 1e-6, in float32, as MMVAE's code does: the mean over the D dimensions is 1.

    Example:
      >>> posterior_scale(jnp.zeros((1, 4))).round(4).tolist()
      [[1.0, 1.0, 1.0, 1.0]]
    """
    return raw.shape[1] * jax.nn.softmax(raw.astype(jnp.float32), axis=1) + _LEAST
