"""Moments of embeddings over the whole batch, on all devices, in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def centred(embeddings: Float[Array, "B d"]) -> Float[Array, "B d"]:
    """The embeddings without their mean."""
    embeddings = embeddings.astype(jnp.float32)
    return embeddings - embeddings.mean(axis=0, keepdims=True)


def standardised(embeddings: Float[Array, "B d"], epsilon: float = 1e-5) -> Float[Array, "B d"]:
    """Every dimension with mean 0 and variance 1 (ddof 0), as a batch normalisation without parameters makes it."""
    values = centred(embeddings)
    return values * jax.lax.rsqrt(jnp.mean(values**2, axis=0, keepdims=True) + epsilon)


def off_diagonal(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The matrix with zeros on its diagonal."""
    return matrix * (1 - jnp.eye(len(matrix), dtype=matrix.dtype))
