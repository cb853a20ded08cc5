"""Multi-head attention, and the pre-norm block of transformers, for encoders and fusions."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.transformers.dropout import Drop

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


def attended(
    query: Float[Array, "B K D"],
    key: Float[Array, "B M D"],
    value: Float[Array, "B M D"],
    mask: Bool[Array, "B M"] | Bool[Array, "B K M"] | None = None,
    *,
    heads: int,
    drop: Drop | None = None,
) -> tuple[Float[Array, "B K D"], Float[Array, "B H K M"]]:
    """Return the mean of the values, weighted by each head for every query, and the weights before any dropout.

    The weights are computed in float32. A query without any token in `mask` has weights of 0, and a mean of zeros.

    Args:
      query: projected queries.
      key: projected keys of the tokens.
      value: projected values of the tokens.
      mask: tokens that queries see, None for all.
      heads: number of heads, which divides D.
      drop: of weights, in training.
    """
    batch, queries, width = query.shape
    split = (batch, -1, heads, width // heads)
    query, key, value = (x.reshape(split) for x in (query, key, value))
    scores = jnp.einsum("bkhd,bmhd->bhkm", query, key).astype(jnp.float32) / math.sqrt(split[-1])
    if mask is None:
        weights = jax.nn.softmax(scores, axis=3)
    else:
        seen = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
        any_token = seen.any(axis=3, keepdims=True)
        weights = jax.nn.softmax(scores, axis=3, where=seen | ~any_token)  # finite without any token
        weights = jnp.where(seen, weights, 0)
    used = weights if drop is None else drop(weights)
    mixed = jnp.einsum("bhkm,bmhd->bkhd", used.astype(query.dtype), value)
    return mixed.reshape(batch, queries, width), weights


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
        key, value = jnp.split(self.key_value(context), 2, axis=2)
        mixed, weights = attended(self.query(x), key, value, mask, heads=self.heads)
        return self.out(mixed), weights


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
