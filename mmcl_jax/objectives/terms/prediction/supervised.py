"""The supervised term: prediction of the class or the number of a sample from the features of one or several views."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, linear_layer


@TERMS.register("supervised")
def supervised(
    *,
    classes: int,
    units: tuple[float, float] = (0.0, 1.0),
    between: tuple[str, ...] = ("image",),
    weight: float = 1.0,
    target: str | None = None,
) -> Term:
    """Return the loss of a label that a linear layer predicts from the features: MMCL's supervised baselines.

    It is the cross-entropy of a class, or the squared error of a number in standard deviations of the training rows.
    With several views, the layer takes their concatenated features (MMCL's `imaging_and_tabular`). It is stored as one
    layer per view, whose outputs are summed, which is equivalent. Rows without a label are left out. (MMCL's baselines
    also stop early; so does the evaluation protocol `finetune`, which trains from scratch, too.)

    Args:
      classes: number of classes; 0 for a number.
      units: mean and standard deviation of the number over the training rows.
      between: the features.
      weight: factor of this term in the objective.
      target: name of the label; None for the store's first class, or, in a store without classes, its first number.

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
      >>> number = supervised(classes=0, units=(10.0, 2.0))
      >>> float(number(each=jnp.ones((2, 1)), targets={"label": jnp.array([16.0, jnp.nan])}))  # 1, not 3
      4.0
    """
    check_weights(weight=weight)
    if not between:
        raise ValueError("between is empty; name at least one view, such as ('image',)")
    name = target or "label"

    def each(rows: Each) -> Float[Array, "B classes"]:
        heads = [rows.layers[text](read.pooled) for text, read in zip(between, rows.features, strict=True)]
        return jnp.stack([head.astype(jnp.float32) for head in heads]).sum(axis=0)

    def loss(batch: Whole) -> Loss:
        if classes == 0:
            return _squared_error(batch, batch.targets[name], units)
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
        layers={text: linear_layer(index, max(classes, 1)) for index, text in enumerate(between)},
        targets=(name,),
        unexplained="" if classes else "the scale of a number in the training rows",
    )


def _squared_error(batch: Whole, label: Float[Array, "B"], units: tuple[float, float]) -> Loss:
    """Return the mean squared error in standard deviations, and the mean absolute error in units of the label."""
    mean, scale = units
    labelled = ~jnp.isnan(label)
    if batch.present is not None:
        labelled &= batch.present
    error = jnp.where(labelled, batch.each[:, 0] - (label - mean) / scale, 0)
    rows = labelled.sum(dtype=jnp.float32)
    count = jnp.maximum(rows, 1)
    return Loss(value=jnp.square(error).sum() / count, metrics={"mae": scale * jnp.abs(error).sum() / count}, rows=rows)
