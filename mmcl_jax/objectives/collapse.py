"""How far embeddings are from collapse: how much they vary, and in how many directions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.objectives.moments import centred, rows_of
from mmcl_jax.objectives.unit import unit

COLLAPSED = 0.05  # a lower `deviation` is a collapse; an untrained encoder's is about ten times as high


def spread(embeddings: Float[Array, "B d"], present: Bool[Array, "B"] | None = None) -> dict[str, Float[Array, ""]]:
    r"""Return `deviation` and `rank` of embeddings of unit length, over the rows of the batch that are present.

    `deviation` is the standard deviation, mean over dimensions, times $\sqrt d$: 0 when all embeddings are one point,
    about 1 when they are spread over the sphere (SimSiam, Chen and He, CVPR 2021, figure 2). `rank` is the effective
    number of directions, $(\mathrm{tr}\, C)^2 / \mathrm{tr}\, C^2$ of the covariance C, from 1 to min(B - 1, d). Both
    are NaN if fewer than two rows are present.

    Example:
      >>> {name: round(float(value), 2) for name, value in spread(jnp.eye(4)).items()}
      {'deviation': 0.87, 'rank': 3.0}
    """
    samples, dimensions = embeddings.shape
    values = centred(unit(jax.lax.stop_gradient(embeddings), dtype=jnp.float32), present)
    # Both matrices of products have the same traces of C and C^2; the smaller matrix is computed.
    products = values.T @ values if dimensions <= samples else values @ values.T
    trace, squares = jnp.trace(products), jnp.sum(products**2)
    count = rows_of(values, present)
    measures = {
        "deviation": jnp.sqrt(jnp.sum(values**2, axis=0) / count).mean() * dimensions**0.5,
        "rank": trace**2 / jnp.maximum(squares, 1e-30),
    }
    if present is None:
        return measures
    return {name: jnp.where(count > 1, value, jnp.nan) for name, value in measures.items()}
