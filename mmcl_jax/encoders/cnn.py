"""A plain convolutional network for small images and small computers."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features, of_maps
from mmcl_jax.encoders.layers import Norm, batch_norm, conv, norm_relu


class CNN(Encoder):
    """Convolutions, each followed by a norm and ReLU; `pooled` is the mean of the last map."""

    takes = ("image",)
    dimensions = 2

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        channels: tuple[int, ...],
        depths: tuple[int, ...] | None = None,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        self.depths = check_stages(channels, depths)
        widths = [c for c, depth in zip(channels, self.depths, strict=True) for _ in range(depth)]
        strides = [1 if index else 2 for depth in self.depths for index in range(depth)]
        self.convs = nnx.List(
            [
                conv(i, o, 3, stride=stride, dimensions=self.dimensions, rngs=rngs, dtype=dtype)
                for (i, o), stride in zip(itertools.pairwise([shape[-1], *widths]), strides, strict=True)
            ]
        )
        self.norms = nnx.List([norm(c) for c in widths])
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
        x, maps = embedded, []
        for convolve, normalise in zip(self.convs, self.norms, strict=True):
            x = norm_relu(normalise, convolve(x), train=train, present=present)
            maps.append(x)
        return of_maps([maps[last - 1] for last in itertools.accumulate(self.depths)])


@ENCODERS.register("cnn")
def cnn(
    *,
    shape: tuple[int, ...],
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    channels: tuple[int, ...] = (32, 64, 128),
    depths: tuple[int, ...] | None = None,
) -> CNN:
    """Return stages of 3x3 convolutions, each of which halves the sides of the map; the last map is the local features.

    Args:
      shape: `(height, width, channels)` of an image.
      norm: function that returns a norm of a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      channels: number of channels of each stage; the last is the number of features.
      depths: number of convolutions of each stage, the first at stride 2 and all others at stride 1; None for one each.

    Raises:
      ValueError: `channels` is empty, a number is not positive, or `depths` is not as long as `channels`.

    Example:
      >>> encoder = cnn(shape=(16, 16, 3), rngs=nnx.Rngs(0), channels=(4, 8))
      >>> features = encoder(jnp.ones((2, 16, 16, 3)), train=False)
      >>> features.pooled.shape, features.local.shape, features.grid
      ((2, 8), (2, 16, 8), (4, 4))
    """
    return CNN(shape=shape, channels=channels, depths=depths, norm=norm, rngs=rngs, dtype=dtype)


def check_stages(channels: tuple[int, ...], depths: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the number of convolutions of each stage.

    Raises:
      ValueError: `channels` is empty, a number is not positive, or `depths` is not as long as `channels`.
    """
    depths = (1,) * len(channels) if depths is None else tuple(depths)
    for name, numbers in {"channels": channels, "depths": depths}.items():
        if not numbers or min(numbers) <= 0:
            raise ValueError(f"{name} must be a tuple of positive numbers, not {numbers}")
    if len(depths) != len(channels):
        raise ValueError(f"depths must have a number for each of the {len(channels)} channels, not {depths}")
    return depths
