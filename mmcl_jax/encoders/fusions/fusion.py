"""The contract of a fusion, and what it is given."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.encoders.base import Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import kept


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Features of one view that a fusion is given.

    Attributes:
      tokens: `[B, L, C]`: the local features of the view, or its pooled ones as one token.
      mask: `[B, L]`, which tokens exist; None if all do.
      grid: shape of the map whose positions the tokens are; None if they are of no map; static.
    """

    tokens: Float[Array, "*B L C"]
    mask: Bool[Array, "*B L"] | None = None
    grid: tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})

    def mean(self) -> Float[Array, "B C"]:
        """Return the mean of the tokens that exist, 0 where there is none."""
        if self.mask is None:
            return self.tokens.mean(axis=1)
        count = jnp.maximum(self.mask.sum(axis=1), 1).astype(self.tokens.dtype)
        return kept(self.tokens, self.mask).sum(axis=1) / count[:, None]


Parts = tuple[Part, ...]


def part_of(features: Features, *, local: bool) -> Part:
    """Return the local features, or the pooled ones, as a fusion is given them."""
    if not local:
        return Part(tokens=features.pooled[:, None])
    assert features.local is not None  # or the model were not built
    return Part(tokens=features.local, mask=features.mask, grid=features.grid)


class Fusion(Encoder):
    """An encoder whose view is a tuple of `Part`, one for each text of the fused view's `of`.

    A factory asks for `parts`, the channels of each. Without model state, such as that of batch normalisation, a fusion
    can also be asked for pairs of different rows (see `objectives.EachPair.fuse`).
    """

    takes = ("fusion",)

    def embed(self, view: Parts) -> Any:
        """Return the parts as they are."""
        return view
