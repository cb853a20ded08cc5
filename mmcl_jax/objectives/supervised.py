"""The supervised term: the class of a sample from the features of one view, or of several together."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Metrics, Term, check_weights


@TERMS.register("supervised")
def supervised(*, classes: int, between: tuple[str, ...] = ("image",), weight: float = 1.0) -> Term:
    """Cross-entropy of the store's class label, by a linear layer on the features: MMCL's supervised baselines.

    With several views, the layer is on their features side by side (MMCL's `imaging_and_tabular`): it is kept as one
    layer per view, whose outputs are summed, which is the same. Rows without a label do not count. (MMCL's baselines
    also stop early: for that, see the evaluation protocol `finetune`, which trains from scratch, too.)

    Args:
      classes: number of them.
      between: the views.
      weight: of this term in the objective.

    Raises:
      ValueError: there is no view, or the weight is negative.
    """
    check_weights(weight=weight)
    if not between:
        raise ValueError("between must name a view")

    def loss(*given: Any) -> tuple[Float[Array, ""], Metrics]:
        *heads, batch, _ = given  # a head for each view, the batch, and no learned scalars
        logits = jnp.stack([head.astype(jnp.float32) for head in heads]).sum(axis=0)
        label = batch["label"]
        known = (label >= 0).astype(jnp.float32)
        count = jnp.maximum(known.sum(), 1.0)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(label, 0)[:, None], axis=1)[:, 0]
        hit = (jnp.argmax(logits, axis=1) == label).astype(jnp.float32)
        return -(known * chosen).sum() / count, {"top1": (known * hit).sum() / count}

    return Term(
        name="supervised", between=between, weight=weight, loss=loss, reads=("head",), head=classes, needs=("label",)
    )
