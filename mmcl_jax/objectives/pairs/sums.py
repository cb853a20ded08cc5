"""The sums per anchor that a contrastive loss is made of, which can be computed tile by tile."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.objectives.pairs.rules import Metadata

Tile = Float[Array, "A B"]
Mask = Bool[Array, "A B"]
Sums = dict[str, Float[Array, "..."]]

# Lower than any logit, and finite, so that an anchor without pairs never gives the difference of two infinities.
LOWEST = -1e30


class PairSums(abc.ABC):
    """The per-anchor sums of a contrastive loss, and their derivative with respect to the logits.

    Both directions use the same definition: the sums of rows are reduced along axis 1 of a tile, those of columns along
    axis 0. Maxima, and `positives`, are constants to differentiation.
    """

    def scores(self, logits: Tile, rows: Metadata, columns: Metadata) -> Any:
        """Return the argument `logits` of `reduce` and `dlogits`, from the logits and the metadata of a tile."""
        return logits

    @abc.abstractmethod
    def empty(self, anchors: int) -> Sums:
        """Return the sums over an empty set of pairs."""

    @abc.abstractmethod
    def reduce(self, logits: Tile, positive: Mask, valid: Mask, axis: int) -> Sums:
        """Return the sums over the pairs of a tile, along `axis`."""

    @abc.abstractmethod
    def merge(self, a: Sums, b: Sums) -> Sums:
        """Return the sums over two disjoint sets of pairs."""

    @abc.abstractmethod
    def residuals(self, sums: Sums, cotangents: Sums) -> Sums:
        """Return the arrays that `dlogits` needs, from the anchors' sums and their cotangents."""

    @abc.abstractmethod
    def dlogits(self, logits: Tile, positive: Mask, valid: Mask, residuals: Sums) -> Tile:
        """Return the derivative of one axis's sums by the logits; `residuals` broadcasts along that axis."""


def soft_clip(logits: Float[Array, "..."], bound: float | None) -> Float[Array, "..."]:
    """Return `bound * tanh(logits / bound)`, or the logits themselves if there is no bound."""
    return logits if bound is None else bound * jnp.tanh(logits / bound)


def packed(sums: Sums) -> Float[Array, "k n"]:
    """Return all sums as one array, which is sent in one message."""
    return jnp.stack(list(sums.values()))


def unpacked(array: Float[Array, "k n"], like: Sums) -> Sums:
    """Return the inverse of `packed`."""
    return dict(zip(like, array, strict=True))


def highest(logits: Tile, where: Mask, axis: int) -> Float[Array, "n"]:
    """Return the highest logit per anchor, `LOWEST` if the mask is empty; a constant to differentiation."""
    return jax.lax.stop_gradient(jnp.max(jnp.where(where, logits, LOWEST), axis=axis))


def matches(positive: Mask, axis: int) -> Float[Array, "n"]:
    """Return the number of positives per anchor."""
    return jnp.sum(positive, axis=axis, dtype=jnp.float32)
