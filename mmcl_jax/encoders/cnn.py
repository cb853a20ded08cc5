"""A plain convolutional network for small images and small computers."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features, of_maps
from mmcl_jax.encoders.layers import Norm, batch_norm, conv, norm_relu


class CNN(Encoder):
    """Convolutions at stride 2, each followed by a norm and ReLU; `pooled` is the mean of the last map."""

    takes = ("image",)
    dimensions = 2

    def __init__(
        self, *, shape: tuple[int, ...], channels: tuple[int, ...], norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        inputs = (shape[-1], *channels[:-1])
        self.convs = nnx.List(
            [
                conv(i, o, 3, stride=2, dimensions=self.dimensions, rngs=rngs, dtype=dtype)
                for i, o in zip(inputs, channels, strict=True)
            ]
        )
        self.norms = nnx.List([norm(c) for c in channels])
        self.out_features = self.out_local_features = channels[-1]
        self.dtype = dtype

    def embed(self, view: Float[Array, "B *space C"]) -> Float[Array, "B *space C"]:
        """Return the view in the dtype of the computation."""
        return view.astype(self.dtype)

    def body(
        self,
        embedded: Float[Array, "B *space C"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the features of images, or of volumes."""
        del keys
        x, stages = embedded, []
        for convolve, normalise in zip(self.convs, self.norms, strict=True):
            x = norm_relu(normalise, convolve(x), train=train, present=present)
            stages.append(x)
        return of_maps(stages)


@ENCODERS.register("cnn")
def cnn(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    channels: tuple[int, ...] = (32, 64, 128),
) -> CNN:
    """Return 3x3 convolutions at stride 2 with these numbers of channels; the last is the number of features.

    Raises:
      ValueError: `channels` is empty, or a number in it is not positive.

    Example:
      >>> encoder = cnn(shape=(16, 16, 3), rngs=nnx.Rngs(0), channels=(4, 8))
      >>> features = encoder(jnp.ones((2, 16, 16, 3)), train=False)
      >>> features.pooled.shape, features.local.shape, features.grid
      ((2, 8), (2, 16, 8), (4, 4))
    """
    check_channels(channels)
    return CNN(shape=shape, channels=channels, norm=norm, rngs=rngs, dtype=dtype)


def check_channels(channels: tuple[int, ...]) -> None:
    """Raise `ValueError` if `channels` is empty, or a number in it is not positive."""
    if not channels or min(channels) <= 0:
        raise ValueError(f"channels must be a tuple of positive numbers, not {channels}")
