"""The Barlow Twins term: two views agree in every dimension, and dimensions say different things."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_weights
from mmcl_jax.objectives.moments import off_diagonal, standardised


@TERMS.register("barlow_twins")
def barlow_twins(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    redundancy: float = 0.005,
    weight: float = 1.0,
) -> Term:
    r"""Barlow Twins (Zbontar et al., ICML 2021), equations 1 and 2.

    With the correlation $C_{ij}$ of dimension i of the first view and j of the second over the whole batch:
    $\sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2$.

    Args:
      between: the two views.
      redundancy: lambda; 0.005 in the paper and in MMCL's baseline.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range.
    """
    check_weights(redundancy=redundancy, weight=weight)

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        correlation = standardised(first).T @ standardised(second) / len(first)
        agreement = jnp.sum((1 - jnp.diagonal(correlation)) ** 2)
        repeated = jnp.sum(off_diagonal(correlation) ** 2)
        return agreement + redundancy * repeated, {"correlation": jnp.diagonal(correlation).mean()}

    return Term(name="barlow_twins", between=between, weight=weight, loss=loss)
