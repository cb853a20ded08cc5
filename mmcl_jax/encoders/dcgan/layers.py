"""The convolutions of DCGANs (Radford et al., ICLR 2016), of images and volumes: kernels of side 4, without biases."""

from typing import Literal

from flax import nnx
from jaxtyping import DTypeLike

from mmcl_jax.encoders.operations.convolve import convolve

SIDES = (32, 64, 128)
Init = Literal["relu", "leaky"]
SLOPE = 0.2  # of the leaky ReLU, for negative numbers
# Squares of PyTorch's gains.
_GAINS = {"relu": 2.0, "leaky": 2 / (1 + SLOPE**2), "sigmoid": 1.0}


def xavier(gain: Literal["relu", "leaky", "sigmoid"]) -> nnx.Initializer:
    """Return the uniform initialisation of Glorot and Bengio (AISTATS 2010) with PyTorch's gain for an activation.

    Numbers are uniform in +-gain sqrt(6 / (fan in + fan out)), where the gain is sqrt(2) for a ReLU, sqrt(2 / 1.04) for
    a leaky one, and 1 for a sigmoid.
    """
    return nnx.initializers.variance_scaling(_GAINS[gain], "fan_avg", "uniform")


def side_of(shape: tuple[int, ...], name: str = "dcgan") -> int:
    """Return the side of images `(side, side, C)` or volumes `(side, side, side, C)`.

    Raises:
      ValueError: there are neither two nor three sides, they differ, or the side is not 32, 64 or 128.
    """
    sides = set(shape[:-1])
    if len(shape) not in (3, 4) or len(sides) != 1 or not sides <= set(SIDES):
        found = " x ".join(map(str, shape[:-1]))
        raise ValueError(
            f"{name} takes images and volumes whose sides are all 32, 64 or 128, and these are {found}; set the size "
            "of the view"
        )
    return sides.pop()


def channels_of(side: int, width: int) -> list[int]:
    """Return the numbers of channels of the maps of sides `side / 2`, ..., 8, 4.

    Example:
      >>> channels_of(64, 32)
      [32, 64, 128, 256]
    """
    return [width << layer for layer in range(side.bit_length() - 3)]


def conv4(
    inputs: int, outputs: int, *, dimensions: int, last: bool, init: Init, rngs: nnx.Rngs, dtype: DTypeLike
) -> nnx.Conv:
    """Return a convolution that halves the sides of maps, or one that reduces maps of side 4 to vectors (`last`)."""
    return nnx.Conv(
        inputs,
        outputs,
        (4,) * dimensions,
        strides=1 if last else 2,
        padding=0 if last else 1,
        use_bias=False,
        kernel_init=xavier(init),
        dtype=dtype,
        conv_general_dilated=convolve,
        rngs=rngs,
    )
