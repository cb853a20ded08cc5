"""Fusion by attention: the tokens of one view attend to one another, and to the tokens of all other views."""

import functools
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.fusions.fusion import Fusion, Part, Parts, check_several
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.transformers.attention import Attention, layer_norm, transformer_init

Form = Literal["tip", "symmetric"]
_EPSILON = {"tip": 1e-5, "symmetric": 1e-6}  # of layer normalisation: PyTorch's and Flax's default


class Block(nnx.Module):
    """Self-attention, cross-attention and a perceptron, each with a norm before it and a residual connection."""

    def __init__(self, width: int, heads: int, *, form: Form, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        norm = functools.partial(layer_norm, width, epsilon=_EPSILON[form], dtype=dtype, rngs=rngs)
        attention = functools.partial(Attention, width, heads, rngs=rngs, dtype=dtype)
        biases = form == "symmetric"
        self.norms = nnx.List([norm() for _ in range(3)])
        self.own = attention(query_bias=biases, key_value_bias=biases)
        self.cross = attention(key_value_bias=biases)
        layer = functools.partial(linear, rngs=rngs, dtype=dtype, kernel_init=transformer_init, zero_bias=True)
        self.hidden, self.out = layer(width, 4 * width), layer(4 * width, width)

    def __call__(
        self, x: Float[Array, "B K D"], mask: Bool[Array, "B K"], context: Array, context_mask: Array
    ) -> tuple[Float[Array, "B K D"], Float[Array, "B H K M"]]:
        """Return the tokens after the block, and the weights of the cross-attention."""
        first, second, third = self.norms
        y = first(x)
        x = x + self.own(y, y, mask)
        y, weights = self.cross.weighted(second(x), context, context_mask)
        x = x + y
        return x + self.out(nnx.gelu(self.hidden(third(x)), approximate=False)), weights


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
        form: Form,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        tip = form == "tip"
        norm = functools.partial(layer_norm, width, epsilon=_EPSILON[form], dtype=dtype, rngs=rngs)
        layer = functools.partial(linear, rngs=rngs, dtype=dtype)
        if tip:
            layer = functools.partial(layer, kernel_init=transformer_init, zero_bias=True)
        projected = parts[:-1] if tip and parts[-1] == width else parts
        self.inputs = nnx.List([layer(channels, width) for channels in projected])
        self.norms = nnx.List([norm() for _ in (parts[:-1] if tip else parts)])
        self.blocks = nnx.List([Block(width, heads, form=form, rngs=rngs, dtype=dtype) for _ in range(blocks)])
        self.norm = norm() if tip else None
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
        return self.attended(embedded)[0]

    def attended(self, parts: Parts) -> tuple[Features, tuple[Float[Array, "B H K M"], ...]]:
        """Return the features of parts, and the weights of the cross-attention of every block.

        The weights say how much each of K tokens of the last part looks at each of the M tokens of all other parts, in
        the order of the parts. A row without these tokens has the weights 0.
        """
        masks = [jnp.ones(part.tokens.shape[:2], bool) if part.mask is None else part.mask for part in parts]
        tokens = [zero_absent(part.tokens, mask).astype(self.dtype) for part, mask in zip(parts, masks, strict=True)]
        for index, layer in enumerate(self.inputs):
            tokens[index] = layer(tokens[index])
        for index, norm in enumerate(self.norms):
            tokens[index] = norm(tokens[index])
        (*others, x), (*other_masks, mask) = tokens, masks
        context, context_mask = jnp.concatenate(others, axis=1), jnp.concatenate(other_masks, axis=1)
        weights = []
        for block in self.blocks:
            x, looks = block(x, mask, context, context_mask)
            weights.append(looks)
        if self.norm is not None:
            x = self.norm(x)
        last = Part(tokens=zero_absent(x, mask), mask=mask, grid=parts[-1].grid)
        pooled = last.mean() if self.pool == "mean" else last.tokens[:, 0]
        return Features(pooled=pooled, local=last.tokens, mask=parts[-1].mask, grid=last.grid), tuple(weights)


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
    form: Form = "tip",
) -> CrossAttention:
    """Return blocks in which tokens of the last part attend to one another, then to the tokens of all other parts.

    The interaction module of TIP (Du et al., ECCV 2024), whose sizes are the defaults: `of=("image.local",
    "table.local")` lets columns attend to positions of the image. Blocks are pre-norm, with a perceptron four times as
    wide and GELU. No token attends to a masked token, so absent parts are masked keys: a row without image is what its
    columns say to one another (and the output's bias), whatever stands in place of the image.

    Args:
      parts: number of channels of each part.
      rngs: random streams for the initial parameters (normal, 0.02, in the blocks; biases 0).
      dtype: of the computation.
      width: of the tokens and of the output.
      heads: number of attention heads.
      blocks: number of blocks.
      pool: the pooled feature is the "mean" of the last part's tokens, or the "first" token, which is the class token
        of a `table_transformer`, as in TIP.
      form: "tip", as in the released code: the image passes a linear layer and a norm, the table only a linear layer if
        its tokens have another width; queries (of self-attention), keys and values have no biases; a norm follows the
        last block. "symmetric": every part passes a linear layer and a norm, all layers have biases, and no norm
        follows; all runs of versions without this option have it.

    Raises:
      ValueError: there are fewer than two parts, a size is not positive, or the heads do not divide the width.

    Example:
      >>> import jax
      >>> from mmcl_jax.encoders.fusions import Part
      >>> fusion = cross_attention(parts=(4, 3), rngs=nnx.Rngs(0), width=8, heads=2, blocks=1)
      >>> image, table = Part(tokens=jnp.ones((2, 9, 4))), Part(tokens=jnp.ones((2, 5, 3)))
      >>> fused = jax.jit(lambda *parts: fusion(parts, train=False))(image, table)
      >>> fused.pooled.shape, fused.local.shape
      ((2, 8), (2, 5, 8))
    """
    check_several(parts, "cross_attention")
    if min(width, heads, blocks) <= 0 or width % heads:
        raise ValueError(
            f"width, heads and blocks must be positive, and heads must divide width, not {width}, {heads}, {blocks}"
        )
    return CrossAttention(
        parts=parts, width=width, heads=heads, blocks=blocks, pool=pool, form=form, rngs=rngs, dtype=dtype
    )
