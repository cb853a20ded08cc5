"""The NNCLR term: the nearest neighbour of one view, among earlier embeddings, attracts the other view's prediction."""

import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_term
from mmcl_jax.objectives.pairs import contrast
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import pairing
from mmcl_jax.objectives.unit import unit


@TERMS.register("nnclr")
def nnclr(
    *,
    between: tuple[str, str] = ("image_1", "image_2"),
    temperature: float = 0.1,
    queue: int = 16384,
    weight: float = 1.0,
) -> Term:
    r"""Return NNCLR's term (Dwibedi et al., ICCV 2021), equation 3, in both directions.

    The anchor of a sample is the nearest neighbour of its embedding among the last `queue` embeddings of the first
    view. The positive is the prediction of the sample's other view, the negatives are the predictions of the other
    samples. The term needs a predictor (`config.predictors`).

    Args:
      between: the two features.
      temperature: tau; 0.1 in the paper.
      queue: number of embeddings in the queue; 98,304 in the paper, whose figure 5 shows little loss down to 16,384.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> z = jnp.eye(4)
      >>> loss = nnclr(temperature=0.5)(z, z, predictions=(z, z), queue=z)
      >>> round(float(loss), 4)
      0.3408
    """
    check_term(temperature=temperature, weight=weight)
    if queue <= 0:
        raise ValueError(f"queue must be positive, not {queue}")

    def loss(batch: Whole) -> Loss:
        queue = batch.queue
        if queue is None:
            raise ValueError("nnclr needs a queue; give embeddings of earlier steps as queue=")
        (z1, z2), (p1, p2) = batch.embeddings, batch.predictions
        rule, metadata = pairing(batch)
        values, hits = [], []
        for z, p in ((z1, p2), (z2, p1)):
            nearest = queue[jnp.argmax(unit(z, dtype=jnp.float32) @ queue.T, axis=1)]
            losses = contrast(
                nearest,
                p.astype(queue.dtype),
                rule=rule,
                x_metadata=metadata,
                y_metadata=metadata,
                scale=1 / temperature,
                denominator="all",
                execution=batch.execution,
            )
            values.append(losses.forward.mean())
            hits.append(losses.forward.accuracy())
        return Loss(value=(values[0] + values[1]) / 2, metrics={"top1": (hits[0] + hits[1]) / 2})

    return Term(
        name="nnclr",
        between=between,
        weight=weight,
        loss=loss,
        outputs=("prediction", "embedding"),
        queue=queue,
    )
