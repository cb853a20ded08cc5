"""The encoder `laplace_conv`: a convolutional network whose output is a Laplace distribution."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.dcgan.layers import channels_of, side_of
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.laplace.scale import posterior_scale
from mmcl_jax.encoders.layers import torch_linear
from mmcl_jax.encoders.operations.convolve import convolve


class LaplaceConv(Encoder):
    """Convolutions of side 4 at stride 2, with biases and ReLUs; then one each for the mean and the scale."""

    takes = ("image", "volume")

    def __init__(self, *, shape: tuple[int, ...], width: int, features: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        if min(width, features) < 1:
            raise ValueError(f"width and features must be positive, not {width} and {features}")
        channels, dimensions = channels_of(side_of(shape, "laplace_conv"), width), len(shape) - 1

        def conv(inputs: int, outputs: int, *, last: bool = False) -> nnx.Conv:
            bound = 1 / math.sqrt(inputs * 4**dimensions)

            def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
                return jax.random.uniform(key, shape, dtype, -bound, bound)

            return nnx.Conv(
                inputs,
                outputs,
                (4,) * dimensions,
                strides=1 if last else 2,
                padding=0 if last else 1,
                kernel_init=torch_linear,
                bias_init=uniform,
                dtype=dtype,
                conv_general_dilated=convolve,
                rngs=rngs,
            )

        self.convs = nnx.List([conv(i, o) for i, o in itertools.pairwise([shape[-1], *channels])])
        self.mean, self.scale = (conv(channels[-1], features, last=True) for _ in range(2))
        self.out_features, self.out_local_features, self.dtype = features, channels[-1], dtype

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
        """Return the mean and the scale of the distribution of each row, and the maps before them."""
        del train, present, keys
        x, stages = embedded, []
        for convolution in self.convs:
            x = nnx.relu(convolution(x))
            stages.append(x)
        rows, *grid, channels = x.shape
        return Features(
            pooled=self.mean(x).reshape(rows, -1),
            scale=posterior_scale(self.scale(x).reshape(rows, -1)),
            local=x.reshape(rows, -1, channels),
            stages=tuple(stages),
            grid=tuple(grid),
        )


@ENCODERS.register("laplace_conv")
def laplace_conv(
    *,
    shape: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 32,
    features: int = 20,
) -> LaplaceConv:
    """Return the encoder of SVHN of MMVAE (Shi et al., NeurIPS 2019), with the sizes of its released code.

    The code has images of side 32. Sides of 64 and 128 have one and two more layers, and volumes have the same layers
    in three dimensions. Parameters are initialised as in PyTorch.

    Args:
      shape: of one image or volume, whose sides are all 32, 64 or 128.
      rngs: random streams for the initial parameters.
      dtype: of the computation; the scale is float32.
      width: channels of the first layer; each layer has twice the channels of the layer before it.
      features: D, the width of the mean and of the scale.

    Raises:
      ValueError: the sides differ or are not 32, 64 or 128, or a size is not positive.

    Example:
      >>> encoder = laplace_conv(shape=(32, 32, 3), rngs=nnx.Rngs(0), width=2)
      >>> posterior = encoder(jnp.ones((2, 32, 32, 3)), train=False)
      >>> posterior.pooled.shape, posterior.scale.mean(axis=1).round(4).tolist()
      ((2, 20), [1.0, 1.0])
    """
    return LaplaceConv(shape=shape, width=width, features=features, rngs=rngs, dtype=dtype)
