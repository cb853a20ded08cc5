"""What an encoder gives."""

import dataclasses

import jax
from jaxtyping import Array, Bool, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """`pooled` [B, D]; where the encoder has them, `local` [B, L, C] and `mask` [B, L] of the places that count."""

    pooled: Float[Array, "B D"]
    local: Float[Array, "B L C"] | None = None
    mask: Bool[Array, "B L"] | None = None
