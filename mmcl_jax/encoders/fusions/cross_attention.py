"""Fusion by attention: the tokens of one view attend to one another, and to the tokens of all other views."""

import functools
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Part, Parts
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.transformers.attention import Attention, transformer_init


class Block(nnx.Module):
    """Self-attention, cross-attention and a perceptron, each with a norm before it and a residual connection."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.norms = nnx.List([nnx.LayerNorm(width, dtype=dtype, rngs=rngs) for _ in range(3)])
        self.own = Attention(width, heads, rngs=rngs, dtype=dtype)
        self.cross = Attention(width, heads, rngs=rngs, dtype=dtype)
        layer = functools.partial(linear, rngs=rngs, dtype=dtype, kernel_init=transformer_init, zero_bias=True)
        self.hidden, self.out = layer(width, 4 * width), layer(4 * width, width)

    def __call__(
        self, x: Float[Array, "B K D"], mask: Bool[Array, "B K"], context: Array, context_mask: Array
    ) -> Float[Array, "B K D"]:
        """Return the tokens after the block."""
        first, second, third = self.norms
        y = first(x)
        x = x + self.own(y, y, mask)
        x = x + self.cross(second(x), context, context_mask)
        return x + self.out(nnx.gelu(self.hidden(third(x)), approximate=False))


class CrossAttention(Fusion):
    """Blocks of attention whose queries are the tokens of the last part."""

    def __init__(
        self,
        *,
        parts: tuple[int, ...],
        width: int,
        heads: int,
        blocks: int,
        pool: Literal["mean", "first"],
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.inputs = nnx.List([linear(channels, width, rngs=rngs, dtype=dtype) for channels in parts])
        self.norms = nnx.List([nnx.LayerNorm(width, dtype=dtype, rngs=rngs) for _ in parts])
        self.blocks = nnx.List([Block(width, heads, rngs=rngs, dtype=dtype) for _ in range(blocks)])
        self.out_features = self.out_local_features = width
        self.pool, self.dtype = pool, dtype

    def body(
        self,
        embedded: Parts,
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the tokens of the last part as local features, and their mean or the first as the pooled feature."""
        del train, present, keys
        masks = [jnp.ones(part.tokens.shape[:2], bool) if part.mask is None else part.mask for part in embedded]
        tokens = [
            norm(layer(zero_absent(part.tokens, mask).astype(self.dtype)))
            for part, mask, layer, norm in zip(embedded, masks, self.inputs, self.norms, strict=True)
        ]
        (*others, x), (*other_masks, mask) = tokens, masks
        context, context_mask = jnp.concatenate(others, axis=1), jnp.concatenate(other_masks, axis=1)
        for block in self.blocks:
            x = block(x, mask, context, context_mask)
        last = Part(tokens=zero_absent(x, mask), mask=mask, grid=embedded[-1].grid)
        pooled = last.mean() if self.pool == "mean" else last.tokens[:, 0]
        return Features(pooled=pooled, local=last.tokens, mask=embedded[-1].mask, grid=last.grid)


@ENCODERS.register("cross_attention")
def cross_attention(
    *,
    parts: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 512,
    heads: int = 8,
    blocks: int = 4,
    pool: Literal["mean", "first"] = "mean",
) -> CrossAttention:
    """Return blocks in which tokens of the last part attend to one another, then to the tokens of all other parts.

    The interaction module of TIP (Du et al., ECCV 2024), whose sizes are the defaults: `of=("image.local",
    "table.local")` lets columns attend to positions of the image. Every part first passes a linear layer and a norm (in
    TIP only the image does, whose columns already have this width). Blocks are pre-norm, with a perceptron four times
    as wide and GELU. No token attends to a masked token.

    Args:
      parts: number of channels of each part.
      rngs: random streams for the initial parameters (normal, 0.02, in the blocks; biases 0).
      dtype: of the computation.
      width: of the tokens and of the output.
      heads: number of attention heads.
      blocks: number of blocks.
      pool: the pooled feature is the "mean" of the last part's tokens, or the "first" token (TIP's class token).

    Raises:
      ValueError: there are fewer than two parts, a size is not positive, or the heads do not divide the width.

    Example:
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = cross_attention(parts=(4, 3), rngs=nnx.Rngs(0), width=8, heads=2, blocks=1)
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.ones((2, 5, 3)))
      >>> fused = jax.jit(lambda *parts: fusion(parts, train=False))(image, table)
      >>> fused.pooled.shape, fused.local.shape
      ((2, 8), (2, 5, 8))
    """
    if len(parts) < 2:
        raise ValueError("cross_attention needs at least two parts; name them in the option `of` of the fused view")
    if min(width, heads, blocks) <= 0 or width % heads:
        raise ValueError(
            f"width, heads and blocks must be positive, and heads must divide width, not {width}, {heads}, {blocks}"
        )
    return CrossAttention(parts=parts, width=width, heads=heads, blocks=blocks, pool=pool, rngs=rngs, dtype=dtype)
