"""The decoder `mlp`: a perceptron from a vector to all pixels."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.decoders.base import DECODERS, Decoder
from mmcl_jax.encoders.layers import linear

_MARGIN = 1e-6


class MLPDecoder(Decoder):
    """A hidden layer with a ReLU, and a layer with a sigmoid whose outputs are the pixels."""

    def __init__(self, *, shape: tuple[int, ...], features: int, hidden: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        if hidden < 1:
            raise ValueError(f"hidden must be positive, not {hidden}")
        self.hidden = linear(features, hidden, rngs=rngs, dtype=dtype)
        self.out = linear(hidden, math.prod(shape), rngs=rngs, dtype=dtype)
        self.shape = shape

    def __call__(
        self, x: Float[Array, "B D"], *, train: bool, present: Bool[Array, " B"] | None = None
    ) -> Float[Array, "B *space C"]:
        pixels = jax.nn.sigmoid(self.out(nnx.relu(self.hidden(x))))
        return jnp.clip(pixels, _MARGIN, 1 - _MARGIN).reshape(-1, *self.shape)


@DECODERS.register("mlp")
def mlp_decoder(
    *,
    shape: tuple[int, ...],
    features: int = 20,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    hidden: int = 400,
) -> MLPDecoder:
    """Return the decoder of MNIST of MMVAE (Shi et al., NeurIPS 2019): the mirror image of `laplace_mlp`.

    As in the released code, pixels lie in [1e-6, 1 - 1e-6].

    Args:
      shape: of one image or volume, channels last.
      features: D, the width of the input.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      hidden: width of the hidden layer.

    Raises:
      ValueError: the width is not positive.

    Example:
      >>> decoder = mlp_decoder(shape=(28, 28, 1), features=16, rngs=nnx.Rngs(0), hidden=8)
      >>> decoder(jnp.ones((2, 16)), train=True).shape
      (2, 28, 28, 1)
    """
    return MLPDecoder(shape=shape, features=features, hidden=hidden, rngs=rngs, dtype=dtype)
