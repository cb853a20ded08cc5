"""Rows of unit length: the one normalisation under every cosine."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

_SHORTEST = 1e-12


def at_least_float32(*dtypes: np.dtype) -> np.dtype:
    """Return the widest of these types and float32.

    Example:
      >>> at_least_float32(jnp.dtype("bfloat16")).name
      'float32'
    """
    return max(jnp.dtype(jnp.float32), *dtypes, key=lambda dtype: dtype.itemsize)


def unit(
    x: Float[Array, "N d"], scale: float | int | np.floating | Float[Array, ""] = 1.0, *, dtype: DTypeLike | None = None
) -> Float[Array, "N d"]:
    """Return the rows of `x` scaled to the length `scale`, as `dtype` (by default that of `x`).

    It is computed in float32, or in float64 where `x` is.
    A row shorter than 1e-12 is divided by 1e-12, so rows of zeros stay zeros and all gradients are finite. Every row is
    divided by its largest absolute value first: the squares, and the gradients through them, neither overflow nor
    underflow at any length that float32 holds.

    Example:
      >>> unit(jnp.array([[3e25, 4e25], [0.0, 0.0]])).tolist()
      [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    wide = x.astype(at_least_float32(x.dtype))
    # The result does not depend on this divisor, so neither does the gradient.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(wide), axis=1, keepdims=True))
    wide = wide / jnp.maximum(largest, _SHORTEST)
    square = jnp.sum(jnp.square(wide), axis=1, keepdims=True)
    square = jnp.where(largest < _SHORTEST, jnp.maximum(square, 1), square)
    return (wide * (scale * jax.lax.rsqrt(square))).astype(dtype or x.dtype)
