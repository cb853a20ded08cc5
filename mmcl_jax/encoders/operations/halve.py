"""Convolutions that halve the sides of maps, and transposed ones that double them, with kernels of side 4.

On CPUs, XLA's convolutions of volumes at stride 2, and its transposed convolutions, take from 4 to 30 times as long as
products of matrices that compute the same (a step with both gradients). The product has a row for every position of the
halved map: the patch of side 4 that the kernel meets there.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def patches(x: Float[Array, "B *space C"]) -> Float[Array, "B *halves K"]:
    """Return the patches of side 4 at stride 2 of maps of even sides, padded by 1, in the order of `matrix_of`.

    Blocks of side 2 become channels, so that a patch is two blocks along each axis: few and long pieces.
    """
    axes = x.ndim - 2
    padded = jnp.pad(x, [(0, 0), *[(1, 1)] * axes, (0, 0)])
    batch, *sides, channels = padded.shape
    blocks = [side // 2 for side in sides]
    in_blocks = padded.reshape(batch, *(size for count in blocks for size in (count, 2)), channels)
    first, second = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    wide = in_blocks.transpose(0, *first, *second, 2 * axes + 1).reshape(batch, *blocks, -1)
    spans = [(slice(0, count - 1), slice(1, count)) for count in blocks]
    return jnp.concatenate([wide[:, *at] for at in itertools.product(*spans)], axis=-1)


def matrix_of(kernel: Float[Array, "*kernel C c"]) -> Float[Array, "K c"]:
    """Return a kernel of side 4 as a matrix, whose rows have the order of the elements of `patches`."""
    *sides, inputs, outputs = kernel.shape
    axes = len(sides)
    halves = kernel.reshape(*(2,) * (2 * axes), inputs, outputs)
    block, within = range(0, 2 * axes, 2), range(1, 2 * axes, 2)
    return halves.transpose(*block, *within, 2 * axes, 2 * axes + 1).reshape(-1, outputs)


def enlarge(x: Float[Array, "B *space C"], kernel: Float[Array, "*kernel C c"]) -> Float[Array, "B *larger c"]:
    """Return the transposed convolution with a kernel of side 4 at stride 2 and padding 1, of images or volumes.

    It is PyTorch's, with a kernel `[C, c, *kernel]`: the result at index o is the sum over i of x at i times the kernel
    at o - 2 i + 1.

    Example:
      >>> enlarge(jnp.ones((1, 1, 1, 1)), jnp.arange(16.0).reshape(4, 4, 1, 1))[0, :, :, 0].tolist()
      [[5.0, 6.0], [9.0, 10.0]]
    """
    axes = x.ndim - 2

    def by_xla(x: Array, kernel: Array) -> Array:
        space = range(1, axes + 1)
        maps, kernels = (0, axes + 1, *space), (axes + 1, axes, *range(axes))
        return jax.lax.conv_general_dilated(
            x,
            jnp.flip(kernel, tuple(range(axes))),
            (1,) * axes,
            [(2, 2)] * axes,
            lhs_dilation=(2,) * axes,
            dimension_numbers=jax.lax.ConvDimensionNumbers(maps, kernels, maps),
        )

    def by_product(x: Array, kernel: Array) -> Array:
        batch, *sides, channels = x.shape
        outputs = kernel.shape[-1]
        matrix = matrix_of(kernel.swapaxes(-1, -2)).T  # [C, K]
        pieces = (x.reshape(-1, channels) @ matrix).reshape(batch, *sides, -1)
        whole = jax.ShapeDtypeStruct((batch, *(2 * side for side in sides), outputs), x.dtype)
        (result,) = jax.linear_transpose(patches, whole)(pieces)  # adds patches where they overlap
        return result

    return jax.lax.platform_dependent(x, kernel, cpu=by_product, default=by_xla)
