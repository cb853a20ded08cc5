"""Convolutional block attention over a sequence: which channels matter, and then which positions.

Woo et al., "CBAM: Convolutional block attention module", ECCV 2018, with one dimension instead of two.
"""

import functools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.layers import conv, linear

Sequence = Float[Array, "B L C"]


def maximum(x: Sequence, axis: int) -> Float[Array, "B _"]:
    """Return the maximum along an axis; its gradient goes to the first element that is the maximum.

    The gradient of `x.max()` goes to all elements that equal the maximum, divided by their number. Where a compiler
    computes x again with another rounding, no element does, and the gradient is infinite (seen on CPUs).
    """
    first = jnp.expand_dims(x.argmax(axis=axis), axis)
    index = jnp.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return jnp.where(index == first, x, jnp.zeros((), x.dtype)).sum(axis=axis)


class ChannelAttention(nnx.Module):
    """Multiply each channel by `sigmoid(P(mean) + P(maximum))` over the positions; P is one perceptron for both."""

    def __init__(self, channels: int, reduction: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        layer = functools.partial(linear, rngs=rngs, dtype=dtype)
        hidden = max(1, channels // reduction)
        self.hidden, self.out = layer(channels, hidden), layer(hidden, channels)

    def __call__(self, x: Sequence) -> Sequence:
        pooled = jnp.stack([x.mean(axis=1), maximum(x, 1)], axis=1)
        weight = nnx.sigmoid(self.out(nnx.relu(self.hidden(pooled))).sum(axis=1))
        return x * weight[:, None]


class SpatialAttention(nnx.Module):
    """Multiply each position by the sigmoid of a convolution of the mean and the maximum over the channels."""

    def __init__(self, kernel: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.conv = conv(2, 1, kernel, dimensions=1, rngs=rngs, dtype=dtype)

    def __call__(self, x: Sequence) -> Sequence:
        pooled = jnp.stack([x.mean(axis=2), maximum(x, 2)], axis=2)
        return x * nnx.sigmoid(self.conv(pooled))


class CBAM(nnx.Module):
    """Channel attention, then spatial attention."""

    def __init__(self, channels: int, *, reduction: int, kernel: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        self.channels = ChannelAttention(channels, reduction, rngs=rngs, dtype=dtype)
        self.positions = SpatialAttention(kernel, rngs=rngs, dtype=dtype)

    def __call__(self, x: Sequence) -> Sequence:
        return self.positions(self.channels(x))
