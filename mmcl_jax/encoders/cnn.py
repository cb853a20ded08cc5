"""A plain convolutional network for small images and small computers."""

from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import Norm, conv


class CNN(nnx.Module):
    """Convolutions at stride 2, each normalised and rectified; `pooled` is the mean of the last map."""

    def __init__(
        self, *, shape: tuple[int, ...], channels: tuple[int, ...], norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        inputs = (shape[-1], *channels[:-1])
        self.convs = nnx.List(
            [conv(i, o, 3, stride=2, rngs=rngs, dtype=dtype) for i, o in zip(inputs, channels, strict=True)]
        )
        self.norms = nnx.List([norm(c) for c in channels])
        self.features, self.dtype = channels[-1], dtype

    def __call__(self, view: Float[Array, "B H W C"], *, train: bool) -> Features:
        x = view.astype(self.dtype)
        for convolve, normalise in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(normalise(convolve(x), train=train))
        return Features(pooled=x.mean(axis=(1, 2)), local=x.reshape(x.shape[0], -1, x.shape[-1]))


@ENCODERS.register("cnn")
def cnn(
    *, shape: tuple[int, ...], norm: Norm, rngs: nnx.Rngs, dtype: DTypeLike, channels: tuple[int, ...] = (32, 64, 128)
) -> CNN:
    """3x3 convolutions at stride 2 with these numbers of channels; the last is the number of features.

    Raises:
      ValueError: there is no channel, or not a positive number of them.
    """
    if not channels or min(channels) <= 0:
        raise ValueError(f"channels must be positive numbers, not {channels}")
    return CNN(shape=shape, channels=channels, norm=norm, rngs=rngs, dtype=dtype)
