"""The VIME term: which values of a row were corrupted, and what they were."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmcl_jax.encoders.table_input import one_hot
from mmcl_jax.objectives.base import TERMS, Learned, Metrics, Term, check_weights


@TERMS.register("vime")
def vime(
    *, widths: tuple[int, ...], between: tuple[str] = ("table",), reconstruction: float = 2.0, weight: float = 1.0
) -> Term:
    r"""VIME's self-supervised loss (Yoon et al., NeurIPS 2020), equation 4: $l_m + \alpha\, l_r$.

    Two linear layers on the features of the corrupted row: one says of each column whether its value was changed
    (binary cross-entropy; a draw that equals what was there is no change), the other gives the original one-hot row
    (squared error). Values that are missing in the original count for neither. The corruption is the view's; `scarf`
    draws exactly a share of the columns, where VIME tosses a coin for each.

    Args:
      widths: one-hot width of every column.
      between: the one view, of the table.
      reconstruction: alpha; 2 in the paper.
      weight: of this term in the objective.

    Raises:
      ValueError: a weight is negative.
    """
    check_weights(reconstruction=reconstruction, weight=weight)
    spread = np.repeat(np.arange(len(widths)), widths)

    def loss(
        head: Float[Array, "B n"], view: Float[Array, "B F"], batch: Mapping[str, Array], learned: Learned
    ) -> tuple[Float[Array, ""], Metrics]:
        head, original = head.astype(jnp.float32), batch["table"]
        present = ~jnp.isnan(original)
        row, seen = jnp.where(present, original, 0), jnp.where(present, view, 0)
        changed = (row != seen).astype(jnp.float32)
        mask, values = head[:, : len(widths)], head[:, len(widths) :]
        counts = present.astype(jnp.float32)
        # softplus(x) - x y is the binary cross-entropy of the logit x.
        mask_loss = jnp.sum(counts * (jax.nn.softplus(mask) - mask * changed)) / jnp.maximum(counts.sum(), 1.0)
        wide = counts[:, spread]
        difference = jnp.sum(wide * (values - one_hot(row, widths)) ** 2) / jnp.maximum(wide.sum(), 1.0)
        found = jnp.sum(counts * ((mask > 0) == (changed > 0)).astype(jnp.float32)) / jnp.maximum(counts.sum(), 1.0)
        return mask_loss + reconstruction * difference, {
            "mask": mask_loss,
            "reconstruction": difference,
            "mask_accuracy": found,
        }

    return Term(
        name="vime",
        between=between,
        weight=weight,
        loss=loss,
        reads=("head", "view"),
        head=len(widths) + sum(widths),
        needs=("table",),
    )
