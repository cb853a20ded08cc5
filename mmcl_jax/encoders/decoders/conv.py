"""The decoder `conv`: transposed convolutions with biases and without normalisation."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.encoders.dcgan.layers import channels_of, side_of
from mmcl_jax.encoders.decoders.base import DECODERS, Decoder
from mmcl_jax.encoders.operations.halve import enlarge


class Biased(nnx.Module):
    """A transposed convolution of side 4 with a bias: vectors to maps of side 4 (`first`), or maps to larger ones.

    Both are initialised as in PyTorch, whose bound counts the outputs of a transposed convolution, not its inputs.
    """

    def __init__(
        self, inputs: int, outputs: int, *, dimensions: int, first: bool, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        bound = 1 / math.sqrt(outputs * 4**dimensions)

        def uniform(*shape: int) -> nnx.Param[Array]:
            return nnx.Param(jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound))

        self.kernel, self.bias = uniform(*(4,) * dimensions, inputs, outputs), uniform(outputs)
        self.first, self.dtype = first, dtype

    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *larger c"]:
        x, kernel, bias = (array.astype(self.dtype) for array in (x, self.kernel[...], self.bias[...]))
        if self.first:
            *sides, inputs, outputs = kernel.shape
            y = (x @ jnp.moveaxis(kernel, -2, 0).reshape(inputs, -1)).reshape(-1, *sides, outputs)
        else:
            y = enlarge(x, kernel)
        return y + bias.reshape(*[1] * (y.ndim - 1), -1)


class ConvDecoder(Decoder):
    """Transposed convolutions of side 4, each with a ReLU, the last with a sigmoid."""

    def __init__(self, *, shape: tuple[int, ...], features: int, width: int, rngs: nnx.Rngs, dtype: DTypeLike) -> None:
        if width < 1:
            raise ValueError(f"width must be positive, not {width}")
        channels = channels_of(side_of(shape, "the decoder conv"), width)[::-1]
        sizes = itertools.pairwise([features, *channels, shape[-1]])
        options = {"dimensions": len(shape) - 1, "rngs": rngs, "dtype": dtype}
        self.layers = nnx.List([Biased(i, o, first=at == 0, **options) for at, (i, o) in enumerate(sizes)])

    def __call__(
        self, x: Float[Array, "B D"], *, train: bool, present: Bool[Array, " B"] | None = None
    ) -> Float[Array, "B *space C"]:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return jax.nn.sigmoid(self.layers[-1](x))


@DECODERS.register("conv")
def conv_decoder(
    *,
    shape: tuple[int, ...],
    features: int = 20,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 32,
) -> ConvDecoder:
    """Return the decoder of SVHN of MMVAE (Shi et al., NeurIPS 2019): the mirror image of `laplace_conv`.

    Its layers are those of the decoder `dcgan`, with biases in place of normalisation: what it decodes from a vector
    depends on that vector alone, as a likelihood must.

    Args:
      shape: of one image or volume, whose sides are all 32, 64 or 128.
      features: D, the width of the input.
      rngs: random streams for the initial parameters.
      dtype: of the computation.
      width: channels before the last layer.

    Raises:
      ValueError: the sides differ or are not 32, 64 or 128, or the width is not positive.

    Example:
      >>> decoder = conv_decoder(shape=(32, 32, 3), features=16, rngs=nnx.Rngs(0), width=2)
      >>> decoder(jnp.ones((2, 16)), train=True).shape
      (2, 32, 32, 3)
    """
    return ConvDecoder(shape=shape, features=features, width=width, rngs=rngs, dtype=dtype)
