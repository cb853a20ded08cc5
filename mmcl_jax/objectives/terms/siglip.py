"""The SigLIP term: every pair of two modalities is a binary classification."""

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
    """Return a sigmoid loss between two views: the sum over the pairs of a sample, and the mean over samples.

    SigLIP (Zhai et al., ICCV 2023), Algorithm 1. The inverse temperature and the bias are learned; they start at the
    paper's 10 and -10.

    Args:
      between: the two features.
      temperature: initial temperature.
      bias: initial bias; low, because nearly all pairs are negatives.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a number is out of range.

    Example:
      >>> loss = siglip()(jnp.eye(4), jnp.eye(4))
      >>> round(float(loss), 4)
      0.6933
    """
    check_term(temperature=temperature, weight=weight)

    def loss(batch: Whole) -> Loss:
        first, second = batch.embeddings
        rule, metadata = pairing(batch)
        losses = sigmoid_contrast(
            first,
            second,
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=jnp.exp(batch.learned["log_scale"]),
            bias=batch.learned["bias"],
            execution=batch.execution,
        )
        metrics = {"top1": losses.forward.accuracy(), "top1_back": losses.backward.accuracy()}
        return Loss(value=losses.forward.mean(), metrics=metrics)

    learned = {**learned_scale(temperature), "bias": float(bias)}
    return Term(name="siglip", between=between, weight=weight, loss=loss, learned=learned)
