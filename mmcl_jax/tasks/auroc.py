"""The area under the ROC curve on the device, which chooses settings while heads are trained."""

import jax
import jax.numpy as jnp


def binary_auroc(scores: jax.Array, targets: jax.Array, present: jax.Array | None = None) -> jax.Array:
    """Return the area under the ROC curve (Mann-Whitney; a tie counts half); NaN if all rows are of one class.

    Args:
      scores: `[N]` of class 1.
      targets: `[N]` class codes 0 or 1.
      present: `[N]` bool, the rows that have the label; all by default.
    """
    rows: jax.Array | int = len(scores)
    positive = (targets == 1).astype(jnp.float32)
    if present is not None:
        scores = jnp.where(present, scores, jnp.inf)  # above all other scores, so that absent rows change no rank
        positive, rows = positive * present.astype(jnp.float32), present.sum(dtype=jnp.float32)
    order = jnp.sort(scores)
    below = jnp.searchsorted(order, scores, side="left", method="sort").astype(jnp.float32)
    upto = jnp.searchsorted(order, scores, side="right", method="sort").astype(jnp.float32)
    count = positive.sum()
    rank = (below + upto + 1) / 2
    mean_rank = (positive * rank).sum() / count
    return (mean_rank - (count + 1) / 2) / (rows - count)
