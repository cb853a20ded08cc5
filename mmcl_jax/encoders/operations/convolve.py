"""Convolution, in the forms that are fast on CPUs.

XLA's convolutions on CPUs are slow where the map of the input, of the result or of a gradient is smaller than the
kernel: a 3x3 kernel on [64, 2, 2, 512], with its gradients, takes 36 times as long as a product of matrices that
computes the same. The gradient by the kernel transposes the input and the slopes, and computes what precedes them
again in the order of the transposed array: with 1x1 kernels, which need no transposition, that was 60 % of a step of
ResNet-50 at 128 pixels. The gradient by the input of a strided convolution is a plain loop.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmcl_jax.encoders.operations.halve import matrix_of, patches


def convolve(
    x: Float[Array, "B *space C"],
    kernel: Float[Array, "*kernel C c"],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "B *smaller c"]:
    """Return the convolution; the arguments are those of `jax.lax.conv_general_dilated`, without dilation and groups.

    On CPUs, a 1x1 convolution is a product of matrices, and so is one whose kernel covers the whole map. So is a
    convolution whose maps are smaller than its kernel, and a strided one with up to nine elements in its kernel:
    shifted slices of the input, one for each element of the kernel that meets more than padding, are multiplied by the
    kernel in one product. TPUs would move six times the bytes for it. Volumes that a kernel of side 4 halves have
    `halve.patches`.

    Example:
      >>> convolve(jnp.full((1, 1, 1, 2), 3.0), jnp.ones((3, 3, 2, 1)), (1, 1), [(1, 1), (1, 1)]).tolist()
      [[[[6.0]]]]
    """
    axes = list(zip(x.shape[1:-1], kernel.shape[:-2], strides, padding, strict=True))
    outputs = [(size + sum(pad) - width) // stride + 1 for size, width, stride, pad in axes]

    def by_xla(x: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    def multiplied(x: Array, matrix: Array) -> Array:
        # With more than two axes, the gradient by the matrix would transpose its operands.
        flat = jnp.dot(x.reshape(-1, x.shape[-1]), matrix, precision=options.get("precision"))
        return flat.reshape(*x.shape[:-1], -1)

    def by_slices(x: Array, kernel: Array) -> Array:
        spans = [_span(*axis, output) for axis, output in zip(axes, outputs, strict=True)]
        padded, sizes = jnp.pad(x, [(0, 0), *padding, (0, 0)]), list(zip(strides, outputs, strict=True))
        slices = [
            padded[:, *(slice(i, i + stride * size, stride) for i, (stride, size) in zip(at, sizes, strict=True))]
            for at in itertools.product(*spans)
        ]
        met = kernel[*(slice(span.start, span.stop) for span in spans)].reshape(-1, kernel.shape[-1])
        return multiplied(jnp.concatenate(slices, axis=-1), met)

    def by_product(x: Array, kernel: Array) -> Array:
        met = x[:, *(slice(None, None, stride) for stride in strides)]
        return multiplied(met, kernel.reshape(kernel.shape[-2:]))

    def by_patches(x: Array, kernel: Array) -> Array:
        return multiplied(patches(x), matrix_of(kernel))

    def by_whole(x: Array, kernel: Array) -> Array:
        return multiplied(x.reshape(x.shape[0], *[1] * len(axes), -1), kernel.reshape(-1, kernel.shape[-1]))

    def form() -> Callable[[Array, Array], Array]:
        if all((width, *pad) == (1, 0, 0) for _, width, _, pad in axes):
            return by_product
        if all((size, *pad) == (width, 0, 0) for size, width, _, pad in axes):
            return by_whole
        halved = all((width, stride, *pad, size % 2) == (4, 2, 1, 1, 0) for size, width, stride, pad in axes)
        if halved and len(axes) == 3:
            return by_patches
        small = any(min(size, output) < width for (size, width, _, _), output in zip(axes, outputs, strict=True))
        strided = max(strides) > 1 and math.prod(kernel.shape[:-2]) <= 9
        return by_slices if small or strided else by_xla

    on_cpus = form()
    return (
        by_xla(x, kernel) if on_cpus is by_xla else jax.lax.platform_dependent(x, kernel, cpu=on_cpus, default=by_xla)
    )


def _span(size: int, width: int, stride: int, pad: tuple[int, int], output: int) -> range:
    """Return the elements of the kernel along an axis that meet an element of the input."""
    met = [i for i in range(width) if any(0 <= i + stride * o - pad[0] < size for o in range(output))]
    return range(met[0], met[-1] + 1)
