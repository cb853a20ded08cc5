"""The VICReg term: two views are equal, every dimension varies, and no two vary together."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_weights
from mmcl_jax.objectives.moments import centred, off_diagonal


@TERMS.register("vicreg")
def vicreg(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    weight: float = 1.0,
) -> Term:
    r"""VICReg (Bardes et al., ICLR 2022), equation 6, weighted as its released code does.

    `invariance` weighs the squared difference of the views, `variance` the hinge $\max(0, 1 - \sigma_j)$ of the
    standard deviation of each dimension, `covariance` the squared covariances between dimensions. The equations sum the
    squared difference over dimensions and the hinges over both views; the code, whose numbers are the published ones,
    takes the mean of both.

    Args:
      between: the two views.
      invariance: lambda.
      variance: mu.
      covariance: nu.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range.
    """
    check_weights(invariance=invariance, variance=variance, covariance=covariance, weight=weight)

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        views = [view.astype(jnp.float32) for view in (first, second)]
        difference = jnp.mean((views[0] - views[1]) ** 2)
        hinges, covariances, deviations = [], [], []
        for view in map(centred, views):
            samples, dimensions = view.shape
            products = view.T @ view / (samples - 1)
            spread = jnp.sqrt(jnp.diagonal(products) + 1e-4)
            hinges.append(jax.nn.relu(1 - spread).mean())
            covariances.append(jnp.sum(off_diagonal(products) ** 2) / dimensions)
            deviations.append(spread.mean())
        hinge, deviation = (hinges[0] + hinges[1]) / 2, (deviations[0] + deviations[1]) / 2
        value = invariance * difference + variance * hinge + covariance * (covariances[0] + covariances[1])
        return value, {"difference": difference, "deviation": deviation}

    return Term(name="vicreg", between=between, weight=weight, loss=loss)
