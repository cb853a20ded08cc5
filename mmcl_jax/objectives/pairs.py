"""The all-pairs kernel under every contrastive term.

Each anchor of one side is compared with each of the other side. Which pairs are positives, and which count at all, is
said by a *pair rule* from per-sample metadata, so a rule never needs to know how the pairs are walked.

This file has the reference execution, which forms the whole similarity matrix. Under `jax.jit` with embeddings sharded
over a mesh axis, the compiler gathers one side and every device holds its rows of the matrix.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

Denominator = Literal["all", "negatives"]
Metadata = Mapping[str, Shaped[Array, "..."]]
# (metadata of the rows, broadcast as [A, 1]; of the columns, as [1, B]) -> (positive, counted), both [A, B].
PairRule = Callable[[Metadata, Metadata], tuple[Array, Array]]


def same_id(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
    """The other modality of the same sample is the positive; every pair counts."""
    positive = rows["id"] == columns["id"]
    return positive, jnp.ones_like(positive)


def other_view(rows: Metadata, columns: Metadata) -> tuple[Array, Array]:
    """Another view of the same sample is the positive; a view is not compared with itself (same `place`)."""
    itself = rows["place"] == columns["place"]
    return (rows["id"] == columns["id"]) & ~itself, ~itself


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PairLosses:
    """Per anchor: `forward` [A] for each row against all columns, `backward` [B] for each column against all rows.

    `forward_top1` and `backward_top1` say whether no counted pair of the anchor scores above its best positive.
    """

    forward: Float[Array, "A"]
    backward: Float[Array, "B"]
    forward_top1: Bool[Array, "A"]
    backward_top1: Bool[Array, "B"]


def contrast(
    x: Float[Array, "A d"],
    y: Float[Array, "B d"],
    *,
    rule: PairRule,
    x_metadata: Metadata,
    y_metadata: Metadata,
    temperature: float,
    denominator: Denominator = "all",
) -> PairLosses:
    r"""Softmax contrast of all pairs, in both directions from one similarity matrix.

    With $s_{ij} = \cos(x_i, y_j) / \tau$, positives $P_i$ and the set $D_i$ of counted pairs (denominator "all") or of
    counted pairs that are not positives ("negatives"), the loss of row $i$ is

    $$\ell_i = \log \sum_{j \in D_i} e^{s_{ij}} - \frac{1}{|P_i|} \sum_{j \in P_i} s_{ij}.$$

    Args:
      x: embeddings of the rows, of any float dtype; they are normalised here, in float32, as are the logits.
      y: embeddings of the columns.
      rule: says which pairs are positives and which count. Every anchor must have a positive.
      x_metadata: arrays `[A]` for the rule.
      y_metadata: arrays `[B]` for the rule.
      temperature: tau, positive.
      denominator: "all" is what released code computes; "negatives" is what the papers' equations say
        (MMCL equation 2, decoupled contrastive learning).

    Returns:
      Losses and hits per anchor. Memory and time grow with A x B.

    Example:
      >>> import jax.numpy as jnp
      >>> ids = {"id": jnp.array([7, 8])}
      >>> losses = contrast(
      ...     jnp.eye(2), jnp.eye(2), rule=same_id, x_metadata=ids, y_metadata=ids, temperature=1.0
      ... )
      >>> print(f"{losses.forward[0]:.4f}", losses.forward_top1)
      0.3133 [ True  True]
    """
    logits = normalise(x) @ normalise(y).T / temperature
    rows = {name: values[:, None] for name, values in x_metadata.items()}
    columns = {name: values[None, :] for name, values in y_metadata.items()}
    positive, counted = rule(rows, columns)
    below = counted & ~positive if denominator == "negatives" else counted

    def one_way(axis: int) -> tuple[Array, Array]:
        lse = jax.nn.logsumexp(logits, axis=axis, where=below)
        attraction = jnp.mean(logits, axis=axis, where=positive)
        best = jnp.max(logits, axis=axis, where=positive, initial=-jnp.inf)
        strongest = jnp.max(logits, axis=axis, where=counted, initial=-jnp.inf)
        return lse - attraction, best >= strongest

    forward, forward_top1 = one_way(1)
    backward, backward_top1 = one_way(0)
    return PairLosses(forward=forward, backward=backward, forward_top1=forward_top1, backward_top1=backward_top1)


def normalise(x: Float[Array, "A d"]) -> Float[Array, "A d"]:
    """Rows scaled to unit length, in float32; a row shorter than 1e-12 is divided by that instead."""
    x = x.astype(jnp.float32)
    square = jnp.sum(jnp.square(x), axis=1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))
