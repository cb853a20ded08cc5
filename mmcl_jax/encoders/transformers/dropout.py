"""Dropout whose draws depend on the key of each example, and not on the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Drop = Callable[[Float[Array, "B *any"]], Float[Array, "B *any"]]


def dropout(rate: float, keys: Key[Array, " B"] | None) -> Drop:
    """Return a function that sets a share of the values to 0 and scales the others up, anew in every call.

    Args:
      rate: share of the values that become 0, in [0, 1).
      keys: a key for each example; None to drop nothing.

    Example:
      >>> drop = dropout(0.5, jax.random.split(jax.random.key(0), 2))
      >>> ones = jnp.ones((2, 100))
      >>> sorted(set(drop(ones).ravel().tolist())), bool((drop(ones) == drop(ones)).all())
      ([0.0, 2.0], False)
    """
    if not rate or keys is None:
        return lambda x: x
    calls = iter(range(1 << 30))

    def drop(x: Float[Array, "B *any"]) -> Float[Array, "B *any"]:
        call = next(calls)
        kept = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, call), 1 - rate, x.shape[1:]))(keys)
        return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)

    return drop
