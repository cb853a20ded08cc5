"""The NNCLR term: a view's nearest neighbour of earlier steps attracts the prediction of the other view."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_term
from mmcl_jax.objectives.pairs import Execution, contrast, same
from mmcl_jax.objectives.unit import unit

Embedding = Float[Array, "B d"]


@TERMS.register("nnclr")
def nnclr(
    *,
    execution: Execution,
    between: tuple[str, str] = ("image_1", "image_2"),
    temperature: float = 0.1,
    queue: int = 16384,
    weight: float = 1.0,
) -> Term:
    r"""NNCLR (Dwibedi et al., ICCV 2021), equation 3, in both directions.

    The anchor of a sample is the nearest to its embedding among the last `queue` embeddings of the first view; its
    positive is the prediction of the sample's other view, its negatives those of the other samples. Needs a predictor
    (`config.predictors`).

    Args:
      execution: how the pairs are walked.
      between: the two views.
      temperature: tau; 0.1 in the paper.
      queue: embeddings that are remembered; 98,304 in the paper, whose figure 5 loses little down to 16,384.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range.
    """
    check_term(temperature=temperature, weight=weight)
    if queue <= 0:
        raise ValueError(f"queue must be positive, not {queue}")

    def loss(
        p1: Embedding,
        p2: Embedding,
        z1: Embedding,
        z2: Embedding,
        remembered: Float[Array, "Q d"],
        batch: Mapping[str, Array],
        learned: Learned,
    ) -> tuple[Float[Array, ""], Metrics]:
        metadata = {"id": batch["id"]}
        values, hits = [], []
        for z, p in ((z1, p2), (z2, p1)):
            nearest = remembered[jnp.argmax(unit(z, dtype=jnp.float32) @ remembered.T, axis=1)]
            losses = contrast(
                nearest,
                p.astype(remembered.dtype),
                rule=same("id"),
                x_metadata=metadata,
                y_metadata=metadata,
                scale=1 / temperature,
                denominator="all",
                execution=execution,
            )
            values.append(losses.forward.mean())
            hits.append(losses.forward.accuracy())
        return (values[0] + values[1]) / 2, {"top1": (hits[0] + hits[1]) / 2}

    return Term(name="nnclr", between=between, weight=weight, loss=loss, reads=("prediction", "embedding"), queue=queue)
