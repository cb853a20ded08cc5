"""The losses of predicted categories of a table's cells, and their sums over the cells that count."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders.table_input import one_hot

Codes = Float[Array, "B c"]
Losses = Float[Array, "B c"]
Widths = tuple[int, ...]  # numbers of categories of the c columns; K is their sum


def own_values(logits: Float[Array, "B c K"], widths: Widths) -> Float[Array, "B K"]:
    """Return every column's outputs for its own categories.

    Example:
      >>> print(own_values(jnp.arange(6.0).reshape(1, 2, 3), (1, 2)))
      [[0. 4. 5.]]
    """
    return logits[:, np.repeat(np.arange(len(widths)), widths), np.arange(sum(widths))]


def losses_among_own(
    outputs: Float[Array, "B K"], codes: Codes, widths: Widths, loss: Literal["cross_entropy", "l1"]
) -> tuple[Losses, Bool[Array, "B c"]]:
    """Return the loss of every column by the outputs for its own categories, and whether its category has the largest.

    The loss is the cross-entropy, or the sum of the absolute errors of the one-hot entries.

    Example:
      >>> losses, hits = losses_among_own(jnp.zeros((1, 5)), jnp.array([[1.0, 0.0]]), (2, 3), "cross_entropy")
      >>> [round(float(loss), 4) for loss in losses[0]]  # log 2 and log 3
      [0.6931, 1.0986]
    """
    column, target = np.repeat(np.arange(len(widths)), widths), one_hot(codes, widths)

    def over_columns(reduce: Callable[..., Array], values: Float[Array, "B K"]) -> Float[Array, "B c"]:
        return reduce(values.T, column, len(widths), indices_are_sorted=True).T

    largest = over_columns(jax.ops.segment_max, jax.lax.stop_gradient(outputs))
    own = over_columns(jax.ops.segment_sum, target * outputs)
    if loss == "l1":
        return over_columns(jax.ops.segment_sum, jnp.abs(outputs - target)), own >= largest
    total = over_columns(jax.ops.segment_sum, jnp.exp(outputs - largest[:, column]))
    return jnp.log(total) + largest - own, own >= largest


def losses_among_all(logits: Float[Array, "B c K"], codes: Codes, widths: Widths) -> tuple[Losses, Bool[Array, "B c"]]:
    """Return the cross-entropy of every column among all categories of all columns, and whether its own is the largest.

    Example:
      >>> losses, hits = losses_among_all(jnp.zeros((1, 2, 5)), jnp.array([[1.0, 0.0]]), (2, 3))
      >>> [round(float(loss), 4) for loss in losses[0]]  # log 5
      [1.6094, 1.6094]
    """
    first = np.cumsum([0, *widths[:-1]]).astype(np.int32)
    target = codes.astype(jnp.int32) + first[None]
    likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, :, None], axis=2)[..., 0]
    return -likelihood, jnp.argmax(logits, axis=2) == target


def summed(name: str, losses: Losses, counted: Bool[Array, "B c"], entries: Any = 1) -> dict[str, Float[Array, "B"]]:
    """Return every row's sum of the losses that count, and its number of entries, of which a cell has `entries` `[c]`.

    Cells that do not count get no gradient, whatever their loss is.
    """
    weight = jnp.broadcast_to(jnp.asarray(entries, jnp.float32), losses.shape[1:])[None]
    return {
        name: jnp.where(counted, losses, 0).sum(axis=1),
        f"{name}_entries": jnp.where(counted, weight, 0).sum(axis=1),
    }
