"""The contract of a fusion, and the parts that it combines."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import Encoder
from mmcl_jax.encoders.features import Features


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The features of one view that enter a fusion.

    Attributes:
      tokens: `[B, L, C]`: the local features of the view, or its pooled feature as one token.
      mask: `[B, L]`, which tokens exist; None if all exist.
      grid: shape of the map whose positions are the tokens; None for tokens of no map; static.
    """

    tokens: Float[Array, "*B L C"]
    mask: Bool[Array, "*B L"] | None = None
    grid: tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})

    def mean(self) -> Float[Array, "B C"]:
        """Return the mean of the tokens that exist; 0 for a row without tokens."""
        if self.mask is None:
            return self.tokens.mean(axis=1)
        count = jnp.maximum(self.mask.sum(axis=1), 1).astype(self.tokens.dtype)
        return zero_absent(self.tokens, self.mask).sum(axis=1) / count[:, None]

    def exists(self) -> Bool[Array, " B"]:
        """Return the rows that have a token."""
        return jnp.ones(self.tokens.shape[0], bool) if self.mask is None else self.mask.any(axis=1)


Parts = tuple[Part, ...]


def part_of(features: Features, *, local: bool, present: Bool[Array, " B"] | None = None) -> Part:
    """Return the local features, or the pooled feature, as a part of a fusion.

    The tokens of rows that are not `present` are masked; None leaves all as they are.
    """
    if not local:
        return Part(tokens=features.pooled[:, None], mask=None if present is None else present[:, None])
    assert features.local is not None  # `build_model` checked it
    return Part(tokens=features.local, mask=features.local_present(present), grid=features.grid)


def check_several(parts: tuple[int, ...], fusion: str) -> None:
    """Raise `ValueError` unless a fusion that combines a part with others has at least two parts."""
    if len(parts) < 2:
        raise ValueError(f"{fusion} needs at least two parts; name them in the option `of` of the fused view")


def conditioned(part: Part, absent: Float[Array, " C"], change: Callable[[Array], Array], *, dtype: Any) -> Features:
    """Return the features of a part whose tokens `change` transforms: its tokens, and their mean as the pooled feature.

    Where a row has no token, its pooled feature is the transform of the vector `absent`.
    """
    mask = jnp.ones(part.tokens.shape[:2], bool) if part.mask is None else part.mask
    tokens = zero_absent(change(zero_absent(part.tokens, mask).astype(dtype)), mask)
    changed = Part(tokens=tokens, mask=part.mask, grid=part.grid)
    instead = change(jnp.broadcast_to(absent.astype(dtype), (tokens.shape[0], 1, absent.shape[0])))[:, 0]
    pooled = jnp.where(part.exists()[:, None], changed.mean(), instead)
    return Features(pooled=pooled, local=tokens, mask=part.mask, grid=part.grid)


class Fusion(Encoder):
    """An encoder whose view is a tuple of `Part`, one for each text of the fused view's `of`.

    Its factory takes `parts`, the numbers of channels. A fusion without model state (such as the statistics of batch
    normalisation) can also fuse parts of different rows (see `objectives.EachPair.fuse`).
    """

    takes = ("fusion",)

    def embed(self, view: Parts) -> Any:
        """Return the parts as they are."""
        return view
