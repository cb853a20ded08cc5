"""Convolutions of side 4 that halve maps, and transposed ones that double them, against XLA's, with both gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from mmcl_jax.encoders.operations.convolve import convolve
from mmcl_jax.encoders.operations.halve import enlarge, matrix_of, patches

pytestmark = pytest.mark.core
SPACES = [(6, 4), (2, 4, 6), (1, 1, 1), (1, 3)]


def by_definition(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The transposed convolution: every number of a map adds a multiple of the kernel around twice its index."""
    axes = x.ndim - 2
    sides = x.shape[1:-1]
    y = np.zeros((len(x), *(2 * side + 2 for side in sides), kernel.shape[-1]))
    for at in np.ndindex(*sides):
        window = tuple(slice(2 * index, 2 * index + 4) for index in at)
        y[:, *window] += np.einsum("bi,...io->b...o", x[:, *at], kernel)
    return y[:, *[slice(1, -1)] * axes]


def arrays(space: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, *space, 3)), rng.normal(size=(*[4] * len(space), 3, 5))


def derived(form: Callable[[Array, Array], Array], x: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
    """The value and both gradients."""

    def run(x: Array, kernel: Array) -> tuple[Array, ...]:
        y, back = jax.vjp(form, x, kernel)
        return y, *back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return [np.asarray(array) for array in jax.jit(run)(jnp.float32(x), jnp.float32(kernel))]


def halved_by_xla(x: Array, kernel: Array) -> Array:
    space, axes = "DHW"[: x.ndim - 2], x.ndim - 2
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return jax.lax.conv_general_dilated(x, kernel, [2] * axes, [(1, 1)] * axes, dimension_numbers=numbers)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_transposed_convolution_is_the_sum_of_kernels(space: tuple[int, ...]) -> None:
    x, kernel = arrays(space)
    y, of_x, of_kernel = derived(enlarge, x, kernel)
    np.testing.assert_allclose(y, by_definition(x, kernel), rtol=1e-4, atol=1e-5)
    # It is linear in each: the gradient by x is the convolution of the slopes, and that by the kernel completes it.
    slopes = np.cos(np.arange(y.size)).reshape(y.shape)
    expected = halved_by_xla(jnp.float32(slopes), jnp.float32(kernel.swapaxes(-1, -2)))
    np.testing.assert_allclose(of_x, expected, rtol=1e-4, atol=1e-4)
    other = arrays(space, seed=1)[1]
    np.testing.assert_allclose((of_kernel * other).sum(), (slopes * by_definition(x, other)).sum(), rtol=1e-3)


@pytest.mark.parametrize("space", [(6, 4), (2, 4, 6)], ids=str)
def test_patches_times_the_matrix_is_the_convolution(space: tuple[int, ...]) -> None:
    x, kernel = arrays(space)
    for mine, theirs in zip(
        derived(lambda x, k: jnp.dot(patches(x), matrix_of(k)), x, kernel),
        derived(halved_by_xla, x, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def layer(stride: int, x: Array, kernel: Array) -> Array:
    space, axes = "DHW"[: x.ndim - 2], x.ndim - 2
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return convolve(x, kernel, [stride] * axes, [(int(stride == 2),) * 2] * axes, dimension_numbers=numbers)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize(
    ("form", "space", "product"),
    [
        (lambda x, k: layer(2, x, k), (8, 8, 8), True),
        (lambda x, k: layer(2, x, k), (8, 8), False),
        (lambda x, k: layer(1, x, k), (4, 4, 4), True),
        (lambda x, k: layer(1, x, k), (4, 4), True),
        (enlarge, (4, 4, 4), True),
        (enlarge, (4, 4), True),
    ],
    ids=["halved volume", "halved image", "whole volume", "whole image", "enlarged volume", "enlarged image"],
)
def test_what_is_a_product_on_cpus(
    form: Callable[[Array, Array], Array], space: tuple[int, ...], product: bool, platform: str
) -> None:
    shapes = jax.ShapeDtypeStruct((2, *space, 3), "float32"), jax.ShapeDtypeStruct((*[4] * len(space), 3, 5), "float32")
    text = jax.jit(form).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" not in text) == (product and platform == "cpu")


def test_a_kernel_that_covers_the_map() -> None:
    x, kernel = arrays((4, 4, 4))
    y, *_ = derived(lambda x, k: layer(1, x, k), x, kernel)
    np.testing.assert_allclose(y[:, 0, 0, 0], np.einsum("bxyzi,xyzio->bo", x, kernel), rtol=1e-4, atol=1e-4)


def test_volumes_of_odd_sides_stay_convolutions() -> None:
    x, kernel = arrays((9, 9, 9))
    text = jax.jit(lambda x, k: layer(2, x, k)).trace(jnp.float32(x), jnp.float32(kernel)).lower().as_text()
    assert "stablehlo.convolution" in text
