"""The Barlow Twins term: two views agree in every dimension, and different dimensions are uncorrelated."""

import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.moments import off_diagonal, rows_of, standardised
from mmcl_jax.objectives.stages import Loss, Whole


@TERMS.register("barlow_twins")
def barlow_twins(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    redundancy: float = 0.005,
    weight: float = 1.0,
) -> Term:
    r"""Return the term of Barlow Twins (Zbontar et al., ICML 2021), equations 1 and 2.

    With the correlation $C_{ij}$ of dimension i of the first view and j of the second over the whole batch:
    $\sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2$.

    Args:
      between: the two features.
      redundancy: lambda; 0.005 in the paper and in MMCL's baseline.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> z = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # both dimensions are equal
      >>> loss = barlow_twins(redundancy=0.5)(z, z)
      >>> round(float(loss), 3)
      1.0
    """
    check_weights(redundancy=redundancy, weight=weight)

    def loss(batch: Whole) -> Loss:
        first, second = (standardised(embedding, batch.present) for embedding in batch.embeddings)
        correlation = first.T @ second / rows_of(first, batch.present)
        agreement = jnp.sum((1 - jnp.diagonal(correlation)) ** 2)
        repeated = jnp.sum(off_diagonal(correlation) ** 2)
        metrics = {"correlation": jnp.diagonal(correlation).mean()}
        return Loss(value=agreement + redundancy * repeated, metrics=metrics)

    return Term(name="barlow_twins", between=between, weight=weight, loss=loss)
