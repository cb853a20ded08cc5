"""Moments of embeddings in float32, over all rows of the batch that are present, on all devices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Present = Bool[Array, "B"] | None


def centred(embeddings: Float[Array, "B d"], present: Present = None) -> Float[Array, "B d"]:
    """Return the embeddings minus their mean; rows that are not present are zeros."""
    embeddings = embeddings.astype(jnp.float32)
    if present is None:
        return embeddings - embeddings.mean(axis=0, keepdims=True)
    mean = jnp.sum(jnp.where(present[:, None], embeddings, 0), axis=0, keepdims=True) / rows_of(embeddings, present)
    return jnp.where(present[:, None], embeddings - mean, 0)


def standardised(
    embeddings: Float[Array, "B d"], present: Present = None, *, epsilon: float = 1e-5
) -> Float[Array, "B d"]:
    """Return the embeddings with mean 0 and variance 1 (ddof 0) in every dimension: batch norm without parameters."""
    values = centred(embeddings, present)
    variance = jnp.sum(values**2, axis=0, keepdims=True) / rows_of(values, present)
    return values * jax.lax.rsqrt(variance + epsilon)


def rows_of(embeddings: Float[Array, "B d"], present: Present) -> int | Float[Array, ""]:
    """Return the number of rows that are present, at least 1."""
    return len(embeddings) if present is None else jnp.maximum(jnp.sum(present, dtype=jnp.float32), 1)


def off_diagonal(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return the matrix with zeros on its diagonal."""
    return matrix * (1 - jnp.eye(len(matrix), dtype=matrix.dtype))
