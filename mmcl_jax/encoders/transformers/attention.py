"""Multi-head attention, and the pre-norm block of transformers, for encoders and fusions."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.layers import linear

transformer_init = nnx.initializers.normal(0.02)


class LayerNorm(nnx.LayerNorm):
    """Layer normalisation, with its statistics in float32 whatever the dtype of the result."""

    def __call__(self, x: Float[Array, "*B D"], *, mask: Array | None = None) -> Float[Array, "*B D"]:
        """Return the normalised vectors."""
        with jax.numpy_dtype_promotion("standard"):  # Flax promotes bfloat16 to float32
            return super().__call__(x, mask=mask)


def layer_norm(width: int, *, epsilon: float, rngs: nnx.Rngs, dtype: DTypeLike) -> LayerNorm:
    """Return layer normalisation whose variance is the mean of squared differences, as PyTorch's.

    Flax's fast variance is clipped at 0 by a maximum, which guided backpropagation would take for a ReLU.
    """
    return LayerNorm(width, epsilon=epsilon, use_fast_variance=False, dtype=dtype, rngs=rngs)


class Attention(nnx.Module):
    """Multi-head attention of queries to a context that may be masked."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
        query_bias: bool = True,
        key_value_bias: bool = True,
        in_init: nnx.Initializer = transformer_init,
        out_init: nnx.Initializer = transformer_init,
    ) -> None:
        layer = functools.partial(linear, rngs=rngs, dtype=dtype, zero_bias=True)
        self.query = layer(width, width, bias=query_bias, kernel_init=in_init)
        self.key_value = layer(width, 2 * width, bias=key_value_bias, kernel_init=in_init)
        self.out = layer(width, width, kernel_init=out_init)
        self.heads = heads

    def __call__(
        self,
        x: Float[Array, "B K D"],
        context: Float[Array, "B M D"],
        mask: Bool[Array, "B M"] | Bool[Array, "B K M"] | None = None,
    ) -> Float[Array, "B K D"]:
        """Attend from each query to the tokens in `mask`, None for all; without any token, return `out` of zeros.

        A mask `[B, M]` is the same for every query.
        """
        return self.weighted(x, context, mask)[0]

    def weighted(
        self,
        x: Float[Array, "B K D"],
        context: Float[Array, "B M D"],
        mask: Bool[Array, "B M"] | Bool[Array, "B K M"] | None = None,
    ) -> tuple[Float[Array, "B K D"], Float[Array, "B H K M"]]:
        """Return the output, and the weights that each of the H heads gives to the tokens: 1 in sum, 0 without any."""
        batch, queries, width = x.shape
        split = (batch, -1, self.heads, width // self.heads)
        query = self.query(x).reshape(split)
        key, value = (half.reshape(split) for half in jnp.split(self.key_value(context), 2, axis=2))
        scores = jnp.einsum("bkhd,bmhd->bhkm", query, key).astype(jnp.float32) / math.sqrt(split[-1])
        if mask is None:
            weights = jax.nn.softmax(scores, axis=3)
        else:
            seen = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
            any_token = seen.any(axis=3, keepdims=True)
            weights = jax.nn.softmax(scores, axis=3, where=seen | ~any_token)  # finite without any token
            weights = jnp.where(seen, weights, 0)
        mixed = jnp.einsum("bhkm,bmhd->bkhd", weights.astype(x.dtype), value)
        return self.out(mixed.reshape(batch, queries, width)), weights


class TransformerBlock(nnx.Module):
    """Self-attention and a perceptron, each with a norm before it and a residual connection.

    The perceptron has one hidden layer, four times as wide, and exact GELU. `epsilon` is added to the variance in
    layer normalisation. `qkv_bias` says whether queries, keys and values have biases.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        epsilon: float,
        qkv_bias: bool,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        norm = functools.partial(layer_norm, width, epsilon=epsilon, dtype=dtype, rngs=rngs)
        layer = functools.partial(linear, rngs=rngs, dtype=dtype, kernel_init=transformer_init, zero_bias=True)
        self.norm1, self.norm2 = norm(), norm()
        self.attention = Attention(width, heads, rngs=rngs, dtype=dtype, query_bias=qkv_bias, key_value_bias=qkv_bias)
        self.hidden, self.out = layer(width, 4 * width), layer(4 * width, width)

    def __call__(
        self, x: Float[Array, "B K D"], mask: Bool[Array, "B K"] | Bool[Array, "B K K"] | None = None
    ) -> Float[Array, "B K D"]:
        """Return the tokens after the block; `mask` says which tokens are seen (see `Attention`)."""
        y = self.norm1(x)
        x = x + self.attention(y, y, mask)
        return x + self.out(nnx.gelu(self.hidden(self.norm2(x)), approximate=False))
