"""Terms without negatives: one view predicts the other's embedding (BYOL, SimSiam)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_weights
from mmcl_jax.objectives.unit import unit

Embedding = Float[Array, "B d"]


def cosine(x: Embedding, y: Embedding) -> Float[Array, "B"]:
    """Return the cosine similarity of each row of x and of y, in float32."""
    return jnp.sum(unit(x, dtype=jnp.float32) * unit(y, dtype=jnp.float32), axis=1)


@TERMS.register("byol")
def byol(*, between: tuple[str, str] = ("image_1", "image_2"), weight: float = 1.0) -> Term:
    r"""BYOL (Grill et al., NeurIPS 2020), equation 2, in both directions: $\sum (2 - 2 \cos(p_1, z'_2))$.

    The prediction of one view is compared with the embedding of the other by the target network, a moving average of
    encoder and projector (`config.target`) that gets no gradient. Needs a predictor (`config.predictors`).

    Args:
      between: the two views.
      weight: of this term in the objective.

    Raises:
      ValueError: the weight is negative.
    """
    check_weights(weight=weight)

    def loss(
        p1: Embedding, p2: Embedding, z1: Embedding, z2: Embedding, batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        agreement = (cosine(p1, z2).mean() + cosine(p2, z1).mean()) / 2
        return 4 - 4 * agreement, {"agreement": agreement}

    return Term(name="byol", between=between, weight=weight, loss=loss, reads=("prediction", "target"))


@TERMS.register("simsiam")
def simsiam(*, between: tuple[str, str] = ("image_1", "image_2"), weight: float = 1.0) -> Term:
    r"""SimSiam (Chen and He, CVPR 2021), equation 4: $-\frac12 \cos(p_1, z_2) - \frac12 \cos(p_2, z_1)$.

    The embeddings z get no gradient here, which is what keeps everything from collapsing to one point; -1 is the least
    value. Needs a predictor (`config.predictors`).

    Args:
      between: the two views.
      weight: of this term in the objective.

    Raises:
      ValueError: the weight is negative.
    """
    check_weights(weight=weight)

    def loss(
        p1: Embedding, p2: Embedding, z1: Embedding, z2: Embedding, batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        z1, z2 = map(jax.lax.stop_gradient, (z1, z2))
        agreement = (cosine(p1, z2).mean() + cosine(p2, z1).mean()) / 2
        return -agreement, {"agreement": agreement}

    return Term(name="simsiam", between=between, weight=weight, loss=loss, reads=("prediction", "embedding"))
