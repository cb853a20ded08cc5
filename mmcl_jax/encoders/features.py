"""The output of an encoder."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """The features of B views: one vector of each and, where the encoder has them, local vectors and maps.

    Attributes:
      pooled: `[B, D]`, one vector per view.
      scale: `[B, D]`, of the distribution of which `pooled` is the mean; None from encoders that return points.
      local: `[B, L, C]`: a map of an image, row by row (the last one, if the encoder names no other), or tokens.
      mask: `[B, L]`, which local features exist; None if all exist.
      weight: `[B, L]`, the weight of each local feature in a loss; None if all weights are equal.
      stages: the maps `[B, h, w, c]` (or `[B, d, h, w, c]`) of all stages, the finest first, for dense tasks.
      stem: the map `[B, h, w, c]` before the pooling of a stem, finer than all stages; None without such a stem.
      grid: shape of the map of the local features, `(h, w)` or `(d, h, w)`, whose product is L; static.
    """

    pooled: Float[Array, "B D"]
    scale: Float[Array, "B D"] | None = None
    local: Float[Array, "B L C"] | None = None
    mask: Bool[Array, "B L"] | None = None
    weight: Float[Array, "B L"] | None = None
    stages: tuple[Array, ...] | None = None
    stem: Array | None = None
    grid: tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})

    def local_present(self, present: Bool[Array, " B"] | None) -> Bool[Array, "B L"] | None:
        """Return which local features exist in the rows that are `present`; None if all exist."""
        if self.local is None or present is None:
            return self.mask
        rows = jnp.broadcast_to(present[:, None], self.local.shape[:2])
        return rows if self.mask is None else rows & self.mask


def of_maps(stages: Sequence[Array], *, stem: Array | None = None) -> Features:
    """Return the features of images or volumes from the maps of an encoder's stages, the finest first, and its stem's.

    The positions of the last map are the local features, and their mean is the pooled feature.
    """
    last = stages[-1]
    batch, *grid, channels = last.shape
    return Features(
        pooled=last.mean(axis=tuple(range(1, last.ndim - 1))),
        local=last.reshape(batch, -1, channels),
        stages=tuple(stages),
        stem=stem,
        grid=tuple(grid),
    )
