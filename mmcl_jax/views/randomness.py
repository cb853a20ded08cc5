"""Random keys as a pure function of (seed, step, stream, example id)."""

import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32


def example_keys(
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    stream: str,
    ids: UInt32[Array, "B"],
    occurrence: Int[Array, "B"] | None = None,
) -> Key[Array, "B"]:
    """Return a random key per example, `[B]`.

    A key depends on the arguments alone: not on the example's index in the batch, the number of devices or hosts, or
    earlier draws. `stream` (a view's name) separates the views of one example; `occurrence` separates the copies of an
    example that a sampler repeats in a batch, and is None where it repeats none.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode()))
    key = jax.random.fold_in(key, step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids)
    return keys if occurrence is None else jax.vmap(jax.random.fold_in)(keys, occurrence)


def plain_keys(modality: str, ids: UInt32[Array, "B"]) -> Key[Array, "B"]:
    """Return the random key per example, `[B]`, of the plain form of a view whose draws are part of the data.

    A key depends on the modality and the example's id alone, and not on the experiment's seed or a step, so that all
    runs and all commands see the same data.
    """
    return example_keys(jnp.uint32(0), jnp.int32(0), f"{modality}/plain", ids)
