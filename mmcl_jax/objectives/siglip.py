"""The SigLIP term: every pair of two modalities is judged by itself."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_term, learned_scale
from mmcl_jax.objectives.pairs import Execution, same, sigmoid_contrast


@TERMS.register("siglip")
def siglip(
    *,
    execution: Execution,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    bias: float = -10.0,
    weight: float = 1.0,
) -> Term:
    """Sigmoid loss between two views; the mean over the samples of the sum over their pairs.

    SigLIP (Zhai et al., ICCV 2023), Algorithm 1. The inverse temperature and the bias are learned, from the paper's
    10 and -10 on.

    Args:
      execution: how the pairs are walked.
      between: the two views.
      temperature: where 1 / scale starts.
      bias: where the bias starts; low, because nearly all pairs are negatives.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range.
    """
    check_term(temperature=temperature, weight=weight)

    def loss(
        first: Float[Array, "B d"], second: Float[Array, "B d"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        ids = {"id": batch["id"]}
        losses = sigmoid_contrast(
            first,
            second,
            rule=same("id"),
            x_metadata=ids,
            y_metadata=ids,
            scale=jnp.exp(learned["log_scale"]),
            bias=learned["bias"],
            execution=execution,
        )
        return losses.forward.mean(), {"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()}

    learned = {**learned_scale(temperature), "bias": float(bias)}
    return Term(name="siglip", between=between, weight=weight, loss=loss, learned=learned)
