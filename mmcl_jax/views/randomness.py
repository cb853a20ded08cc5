"""Random keys as a pure function of (seed, step, stream, example id)."""

import zlib

import jax
from jaxtyping import Array, Int, Key, UInt32


def example_keys(
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    stream: str,
    ids: UInt32[Array, "B"],
    occurrence: Int[Array, "B"] | None = None,
) -> Key[Array, "B"]:
    """Return a key per example, `[B]`.

    The key depends on nothing but its arguments: not on the example's place in the batch, nor on the number of devices
    or hosts, nor on what was drawn before. `stream` (a view's name) keeps two views of one example apart, `occurrence`
    the copies of an example that a sampler repeats in a batch; None where it repeats none.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode()))
    key = jax.random.fold_in(key, step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids)
    return keys if occurrence is None else jax.vmap(jax.random.fold_in)(keys, occurrence)
