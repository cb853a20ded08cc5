"""The supervised term: classification of a sample from the features of one or several views."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, linear_layer


@TERMS.register("supervised")
def supervised(
    *, classes: int, between: tuple[str, ...] = ("image",), weight: float = 1.0, target: str | None = None
) -> Term:
    """Return the cross-entropy of a class label, by a linear layer on the features: MMCL's supervised baselines.

    With several views, the layer takes their concatenated features (MMCL's `imaging_and_tabular`). It is stored as one
    layer per view, whose outputs are summed, which is equivalent. Rows without a label are left out. (MMCL's baselines
    also stop early; so does the evaluation protocol `finetune`, which trains from scratch, too.)

    Args:
      classes: number of classes.
      between: the features.
      weight: factor of this term in the objective.
      target: name of the class label; None for the store's first.

    Raises:
      ValueError: there is no view, or the weight is negative.

    Example:
      >>> from flax import nnx
      >>> term, features, labels = supervised(classes=4), jnp.ones((3, 16)), jnp.array([0, 3, -1])
      >>> layers = term.init(nnx.Rngs(0), features)
      >>> term(features, layers=layers, labels=labels).shape
      ()
      >>> round(float(term(each=jnp.zeros((3, 4)), labels=labels)), 4)  # of logits
      1.3863
    """
    check_weights(weight=weight)
    if not between:
        raise ValueError("between is empty; name at least one view, such as ('image',)")
    name = target or "label"

    def each(rows: Each) -> Float[Array, "B classes"]:
        heads = [rows.layers[text](read.pooled) for text, read in zip(between, rows.features, strict=True)]
        return jnp.stack([head.astype(jnp.float32) for head in heads]).sum(axis=0)

    def loss(batch: Whole) -> Loss:
        logits, label = batch.each, batch.targets[name]
        labelled = label >= 0
        if batch.present is not None:
            labelled &= batch.present
        weight = labelled.astype(jnp.float32)
        count = jnp.maximum(weight.sum(), 1.0)
        log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(label, 0)[:, None], axis=1)[:, 0]
        hit = (jnp.argmax(logits, axis=1) == label).astype(jnp.float32)
        return Loss(
            value=-(weight * log_likelihood).sum() / count,
            metrics={"top1": (weight * hit).sum() / count},
            rows=weight.sum(),
        )

    return Term(
        name="supervised",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers={text: linear_layer(index, classes) for index, text in enumerate(between)},
        targets=(name,),
    )
