"""The SigLIP term: every pair of two modalities is judged by itself."""

import jax.numpy as jnp

from mmcl_jax.objectives.base import TERMS, Term, check_term, learned_scale
from mmcl_jax.objectives.pairs import sigmoid_contrast
from mmcl_jax.objectives.stages import Loss, Whole
from mmcl_jax.objectives.terms.labels import pairing


@TERMS.register("siglip")
def siglip(
    *,
    between: tuple[str, str] = ("image", "table"),
    temperature: float = 0.1,
    bias: float = -10.0,
    weight: float = 1.0,
) -> Term:
    """Return a sigmoid loss between two views; the mean over the samples of the sum over their pairs.

    SigLIP (Zhai et al., ICCV 2023), Algorithm 1. The inverse temperature and the bias are learned, from the paper's
    10 and -10 on.

    Args:
      between: the two features.
      temperature: where 1 / scale starts.
      bias: where the bias starts; low, because nearly all pairs are negatives.
      weight: of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> loss = siglip()(jnp.eye(4), jnp.eye(4))
      >>> round(float(loss), 4)
      0.6933
    """
    check_term(temperature=temperature, weight=weight)

    def loss(given: Whole) -> Loss:
        first, second = given.embeddings
        rule, metadata = pairing(given)
        losses = sigmoid_contrast(
            first,
            second,
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=jnp.exp(given.learned["log_scale"]),
            bias=given.learned["bias"],
            execution=given.execution,
        )
        metrics = {"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()}
        return Loss(value=losses.forward.mean(), metrics=metrics)

    learned = {**learned_scale(temperature), "bias": float(bias)}
    return Term(name="siglip", between=between, weight=weight, loss=loss, learned=learned)
