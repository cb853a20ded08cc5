"""The VIME term: predict which values of a row were corrupted, and their original values."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders.table_input import one_hot
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Loss, Whole, linear_layer


@TERMS.register("vime")
def vime(
    *, widths: tuple[int, ...], between: tuple[str] = ("table",), reconstruction: float = 2.0, weight: float = 1.0
) -> Term:
    r"""Return VIME's self-supervised loss (Yoon et al., NeurIPS 2020), equation 4: $l_m + \alpha\, l_r$.

    Two linear layers read the features of the corrupted row. One predicts for each column whether its value was changed
    (binary cross-entropy; a draw that equals the original value is no change), the other predicts the original one-hot
    row (squared error). Values that are missing in the original row are left out of both. The view makes the
    corruption: `scarf` corrupts an exact share of the columns, where VIME tosses a coin for each column.

    Args:
      widths: one-hot width of every column.
      between: the view of the table.
      reconstruction: alpha; 2 in the paper.
      weight: factor of this term in the objective.

    Raises:
      ValueError: a weight is negative, or the view is not of a table.

    Example:
      >>> from flax import nnx
      >>> rows, corrupted, features = jnp.zeros((2, 2)), jnp.ones((2, 2)), jnp.ones((2, 16))
      >>> term = vime(widths=(1, 1))  # two numbers
      >>> layers = term.init(nnx.Rngs(0), features)
      >>> term(features, layers=layers, views=corrupted, inputs=rows).shape
      ()
      >>> head = jnp.zeros((2, 4))  # logits of a change for each of the two numbers, and their values
      >>> round(float(term(each={"head": head, "row": rows, "view": corrupted})), 4)
      0.6931
    """
    check_weights(reconstruction=reconstruction, weight=weight)
    if not widths:
        raise ValueError(f"between must name a view of a table, and {between[0]!r} is none")
    column_of = np.repeat(np.arange(len(widths)), widths)

    def each(rows: Each) -> dict[str, Array]:
        if not (rows.views and rows.inputs):
            raise ArrayError("vime compares rows before and after their corruption; give them as inputs= and views=.")
        (features,), (view,), (row,) = rows.features, rows.views, rows.inputs
        assert view is not None  # only fused views are None
        return {"head": rows.layers[between[0]](features.pooled), "view": view.values, "row": row}

    def loss(batch: Whole) -> Loss:
        head, original, view = (batch.each[name] for name in ("head", "row", "view"))
        head = head.astype(jnp.float32)
        present = ~jnp.isnan(original)
        if batch.present is not None:
            present &= batch.present[:, None]
        row, corrupted = jnp.where(present, original, 0), jnp.where(present, view, 0)
        changed = (row != corrupted).astype(jnp.float32)
        mask, values = head[:, : len(widths)], head[:, len(widths) :]
        counts = present.astype(jnp.float32)
        # softplus(x) - x y is the binary cross-entropy of the logit x.
        mask_loss = jnp.sum(counts * (jax.nn.softplus(mask) - mask * changed)) / jnp.maximum(counts.sum(), 1.0)
        wide = counts[:, column_of]
        difference = jnp.sum(wide * (values - one_hot(row, widths)) ** 2) / jnp.maximum(wide.sum(), 1.0)
        accuracy = jnp.sum(counts * ((mask > 0) == (changed > 0)).astype(jnp.float32)) / jnp.maximum(counts.sum(), 1.0)
        return Loss(
            value=mask_loss + reconstruction * difference,
            metrics={"mask": mask_loss, "reconstruction": difference, "mask_accuracy": accuracy},
        )

    return Term(
        name="vime",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers={between[0]: linear_layer(0, len(widths) + sum(widths))},
    )
