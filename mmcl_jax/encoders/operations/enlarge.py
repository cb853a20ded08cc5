"""Transposed convolution that doubles the sides of maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def enlarge(x: Float[Array, "B *space C"], kernel: Float[Array, "*kernel C c"]) -> Float[Array, "B *larger c"]:
    """Return the transposed convolution with a kernel of side 4 at stride 2 and padding 1, of images or volumes.

    It is PyTorch's, with a kernel `[C, c, *kernel]`: the result at index o is the sum over i of x at i times the kernel
    at o - 2 i + 1.

    Example:
      >>> enlarge(jnp.ones((1, 1, 1, 1)), jnp.arange(16.0).reshape(4, 4, 1, 1))[0, :, :, 0].tolist()
      [[5.0, 6.0], [9.0, 10.0]]
    """
    dimensions = x.ndim - 2
    space = tuple(range(1, dimensions + 1))
    order = jax.lax.ConvDimensionNumbers(
        (0, dimensions + 1, *space), (dimensions + 1, dimensions, *range(dimensions)), (0, dimensions + 1, *space)
    )
    return jax.lax.conv_general_dilated(
        x,
        jnp.flip(kernel, tuple(range(dimensions))),
        (1,) * dimensions,
        [(2, 2)] * dimensions,
        lhs_dilation=(2,) * dimensions,
        dimension_numbers=order,
    )
