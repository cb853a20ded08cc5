"""The area under the ROC curve: on the device, to choose settings; and what every row adds to it, on the host."""

import jax
import jax.numpy as jnp
import numpy as np


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


def auroc_components(scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Return the structural components of an AUROC (DeLong et al., Biometrics 1988), scaled so that it is their mean.

    The value of a row is `A + (V - A) N / m`, where A is the AUROC, m of the N rows are in the class of the row, and V
    is the share of the rows of the other class that are ranked on the right side of it. None if all rows are of one
    class.

    Args:
      scores: `[N]` of class 1.
      targets: `[N]` class codes 0 or 1.

    Example:
      >>> auroc_components(np.array([0.1, 0.7, 0.4, 0.9]), np.array([0, 0, 1, 1])).tolist()
      [1.25, 0.25, 0.25, 1.25]
    """
    classes = [scores[targets == code] for code in (0, 1)]
    if min(map(len, classes)) == 0:
        return None
    shares = np.empty(len(scores))
    for code, sign in ((0, -1), (1, 1)):
        others, own = np.sort(sign * classes[1 - code]), sign * classes[code]
        below, upto = (np.searchsorted(others, own, side=side) for side in ("left", "right"))
        shares[targets == code] = (below + upto) / 2 / len(others)
    auroc = float(shares[targets == 1].mean())
    sizes = np.where(targets == 1, len(classes[1]), len(classes[0]))
    return auroc + (shares - auroc) * len(scores) / sizes
