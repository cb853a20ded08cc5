"""Terms without negatives: one view predicts the other's embedding (BYOL, SimSiam)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.unit import unit

Embedding = Float[Array, "B d"]


def cosine(x: Embedding, y: Embedding) -> Float[Array, "B"]:
    """Return the cosine similarity of each row of x and of y, in float32."""
    return jnp.sum(unit(x, dtype=jnp.float32) * unit(y, dtype=jnp.float32), axis=1)


@TERMS.register("byol")
def byol(*, between: tuple[str, str] = ("image_1", "image_2"), weight: float = 1.0) -> Term:
    r"""Return BYOL's term (Grill et al., NeurIPS 2020), equation 2, in both directions: $\sum (2 - 2 \cos(p_1, z'_2))$.

    The prediction of one view is compared with the target network's embedding of the other view. The target network is
    an EMA of encoder and projector (`config.target`) and gets no gradient. The term needs a predictor
    (`config.predictors`).

    Args:
      between: the two features.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative.

    Example:
      >>> p, z = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
      >>> float(byol()(predictions=(p, p), teacher=(z, z)))
      4.0
    """
    check_weights(weight=weight)

    def loss(batch: Whole) -> Loss:
        (p1, p2), (z1, z2) = batch.predictions, batch.teacher
        agreement = (batch.mean(cosine(p1, z2)) + batch.mean(cosine(p2, z1))) / 2
        return Loss(value=4 - 4 * agreement, metrics={"agreement": agreement})

    return Term(name="byol", between=between, weight=weight, loss=loss, outputs=("prediction", "teacher"))


@TERMS.register("simsiam")
def simsiam(*, between: tuple[str, str] = ("image_1", "image_2"), weight: float = 1.0) -> Term:
    r"""Return SimSiam's term (Chen and He, CVPR 2021), equation 4: $-\frac12 \cos(p_1, z_2) - \frac12 \cos(p_2, z_1)$.

    The embeddings z get no gradient: this keeps all embeddings from collapsing to one point. The lowest value is -1.
    The term needs a predictor (`config.predictors`).

    Args:
      between: the two features.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative.

    Example:
      >>> z = jnp.array([[3.0, 4.0]])
      >>> float(simsiam()(z, z, predictions=(z, z)))
      -1.0
    """
    check_weights(weight=weight)

    def loss(batch: Whole) -> Loss:
        p1, p2 = batch.predictions
        z1, z2 = map(jax.lax.stop_gradient, batch.embeddings)
        agreement = (batch.mean(cosine(p1, z2)) + batch.mean(cosine(p2, z1))) / 2
        return Loss(value=-agreement, metrics={"agreement": agreement})

    return Term(name="simsiam", between=between, weight=weight, loss=loss, outputs=("prediction", "embedding"))
