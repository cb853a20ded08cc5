"""The decoder `dcgan`, the mirror image of the encoder of that name."""

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.dcgan.layers import channels_of, side_of, xavier
from mmcl_jax.encoders.decoders.base import DECODERS, Decoder
from mmcl_jax.encoders.layers import Norm, batch_norm, norm_relu
from mmcl_jax.encoders.operations.halve import enlarge

LastInit = Literal["relu", "sigmoid"]


class Transposed(nnx.Module):
    """A transposed convolution of side 4 without bias: vectors to maps of side 4 (`first`), or maps to larger ones."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        dimensions: int,
        first: bool,
        init: LastInit,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        shape = (*(4,) * dimensions, inputs, outputs)
        self.kernel = nnx.Param(xavier(init)(rngs.params(), shape, jnp.float32))
        self.first, self.dtype = first, dtype

    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *larger c"]:
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        if not self.first:
            return enlarge(x, kernel)
        *sides, inputs, outputs = kernel.shape
        cells = x.reshape(-1, inputs) @ jnp.moveaxis(kernel, -2, 0).reshape(inputs, -1)
        return cells.reshape(-1, *sides, outputs)


class DCGANDecoder(Decoder):
    """Transposed convolutions of side 4, each with a norm and a ReLU, the last with a sigmoid."""

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        features: int,
        width: int,
        init: LastInit,
        norm: Norm,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        if width < 1:
            raise ValueError(f"width must be positive, not {width}")
        channels = channels_of(side_of(shape), width)[::-1]
        sizes = list(itertools.pairwise([features, *channels, shape[-1]]))
        self.layers = nnx.List(
            [
                Transposed(
                    inputs,
                    outputs,
                    dimensions=len(shape) - 1,
                    first=at == 0,
                    init=init if at == len(channels) else "relu",
                    rngs=rngs,
                    dtype=dtype,
                )
                for at, (inputs, outputs) in enumerate(sizes)
            ]
        )
        self.norms = nnx.List([norm(size) for size in channels])

    def __call__(
        self, x: Float[Array, "B D"], *, train: bool, present: Bool[Array, " B"] | None = None
    ) -> Float[Array, "B *space C"]:
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = norm_relu(norm, layer(x), train=train, present=present)
        return jax.nn.sigmoid(self.layers[-1](x))


@DECODERS.register("dcgan")
def dcgan_decoder(
    *,
    shape: tuple[int, ...],
    features: int = 64,
    norm: Norm = batch_norm,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 32,
    init: LastInit = "relu",
) -> DCGANDecoder:
    """Return the decoder of Fedorov et al. for images or volumes of side 32, 64 or 128, with values in [0, 1].

    Its layers are those of the encoder `dcgan` in the reverse order: at side 32, transposed convolutions to 128, 64 and
    32 channels and to those of the view. None has a bias.

    Args:
      shape: of one image, (height, width, channels), or of one volume, (depth, height, width, channels).
      features: D, the width of the input.
      norm: makes a normalisation layer for a number of channels.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      width: channels before the last layer.
      init: the last layer is Glorot-uniform with the gain for a ReLU ("relu", as all other layers, the code of 2021) or
        for its sigmoid ("sigmoid", the code of 2024).

    Raises:
      ValueError: the sides differ or are not 32, 64 or 128, or the width is not positive.

    Example:
      >>> decoder = dcgan_decoder(shape=(32, 32, 1), features=16, rngs=nnx.Rngs(0), width=4)
      >>> decoder(jnp.ones((2, 16)), train=True).shape
      (2, 32, 32, 1)
    """
    return DCGANDecoder(shape=shape, features=features, width=width, init=init, norm=norm, rngs=rngs, dtype=dtype)
