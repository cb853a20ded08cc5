"""A plain convolutional network for volumes."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import DTypeLike

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.cnn import CNN
from mmcl_jax.encoders.layers import Norm, batch_norm


class CNN3D(CNN):
    """The network of `cnn` with convolutions over depth, height and width."""

    takes = ("volume",)
    dimensions = 3


@ENCODERS.register("cnn3d")
def cnn3d(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    channels: tuple[int, ...] = (16, 32, 64),
    depths: tuple[int, ...] | None = None,
) -> CNN3D:
    """Return stages of 3x3x3 convolutions, each of which halves the sides of the map; see `cnn`.

    Raises:
      ValueError: `channels` is empty, a number is not positive, or `depths` is not as long as `channels`.

    Example:
      >>> encoder = cnn3d(shape=(8, 16, 16, 1), rngs=nnx.Rngs(0), channels=(4, 8))
      >>> features = encoder(jnp.ones((2, 8, 16, 16, 1)), train=True)
      >>> features.pooled.shape, features.local.shape, features.grid
      ((2, 8), (2, 32, 8), (2, 4, 4))
    """
    return CNN3D(shape=shape, channels=channels, depths=depths, norm=norm, rngs=rngs, dtype=dtype)
