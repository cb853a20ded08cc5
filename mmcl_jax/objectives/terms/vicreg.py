"""The VICReg term: two views agree, every dimension varies, and no two dimensions are correlated."""

import jax
import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.moments import centred, off_diagonal, rows_of
from mmcl_jax.objectives.stages import Loss, Whole


@TERMS.register("vicreg")
def vicreg(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    weight: float = 1.0,
) -> Term:
    r"""Return VICReg's term (Bardes et al., ICLR 2022), equation 6, weighted as its released code does.

    `invariance` weighs the squared difference of the views, `variance` the hinge $\max(0, 1 - \sigma_j)$ of the
    standard deviation of each dimension, `covariance` the squared covariances between dimensions. The equations sum the
    squared difference over dimensions and the hinges over both views. The released code, which the published numbers
    come from, takes the mean in both places, and so does this term.

    Args:
      between: the two features.
      invariance: lambda.
      variance: mu.
      covariance: nu.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> z = jnp.ones((4, 2))  # collapsed: equal, but nothing varies
      >>> round(float(vicreg()(z, z)), 2)
      24.75
    """
    check_weights(invariance=invariance, variance=variance, covariance=covariance, weight=weight)

    def loss(batch: Whole) -> Loss:
        views = [view.astype(jnp.float32) for view in batch.embeddings]
        difference = batch.mean(jnp.mean((views[0] - views[1]) ** 2, axis=1))
        degrees = jnp.maximum(rows_of(views[0], batch.present) - 1, 1)
        hinges, covariances, deviations = [], [], []
        for view in views:
            view = centred(view, batch.present)
            products = view.T @ view / degrees
            spread = jnp.sqrt(jnp.diagonal(products) + 1e-4)
            hinges.append(jax.nn.relu(1 - spread).mean())
            covariances.append(jnp.sum(off_diagonal(products) ** 2) / view.shape[1])
            deviations.append(spread.mean())
        hinge, deviation = (hinges[0] + hinges[1]) / 2, (deviations[0] + deviations[1]) / 2
        value = invariance * difference + variance * hinge + covariance * (covariances[0] + covariances[1])
        return Loss(value=value, metrics={"difference": difference, "deviation": deviation})

    return Term(name="vicreg", between=between, weight=weight, loss=loss)
