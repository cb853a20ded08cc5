"""Convolutions that are products on CPUs, against XLA's convolution, in value and in both gradients."""

import functools
import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.encoders.operations.convolve import convolve

pytestmark = pytest.mark.core
# (space, kernel, stride): maps of the input or of the result that are smaller than the kernel, strides, 1x1 kernels,
# and two that stay convolutions.
CASES = [
    ((1, 1), 3, 1),
    ((2, 2), 3, 1),
    ((2, 2), 3, 2),
    ((4, 4), 3, 2),
    ((5, 1), 3, 2),
    ((5, 4), 7, 2),
    ((2,), 7, 1),
    ((1, 2, 3), 3, 2),
    ((5, 6), 3, 2),
    ((1, 1), 1, 2),
    ((4, 3), 1, 1),
    ((5, 4), 1, 2),
    ((3,), 1, 1),
    ((14, 15), 7, 2),
    ((4, 3), 3, 1),
]


@functools.cache
def every_case() -> list[tuple]:
    """The cases by us and by XLA, each as the value and its two gradients, in one program."""
    rng = np.random.default_rng(0)
    given = [
        (rng.normal(size=(3, *space, 2)), rng.normal(size=(*[kernel] * len(space), 2, 4))) for space, kernel, _ in CASES
    ]
    given = jax.tree.map(lambda values: jnp.asarray(values, jnp.float32), given)

    def derived(form, x, kernel, stride) -> tuple:
        space, pads = "DHW"[: x.ndim - 2], [(kernel.shape[0] // 2,) * 2] * (x.ndim - 2)
        numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
        y, back = jax.vjp(lambda x, k: form(x, k, [stride] * (x.ndim - 2), pads, dimension_numbers=numbers), x, kernel)
        return y, *back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    def both(given) -> list:
        return [
            tuple(derived(form, *arrays, case[2]) for form in (convolve, jax.lax.conv_general_dilated))
            for arrays, case in zip(given, CASES, strict=True)
        ]

    return jax.device_get(jax.jit(both)(given))


@pytest.mark.parametrize("index", range(len(CASES)), ids=map(str, CASES))
def test_values_and_gradients_are_those_of_xla(index: int) -> None:
    for mine, theirs in zip(*every_case()[index], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_cpus_alone_all_but_large_kernels_and_large_maps_are_products(case: tuple, platform: str) -> None:
    form, shapes = convolution(*case)
    text = jax.jit(form).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    sliced = platform == "cpu" and case not in CASES[-2:]
    assert ("stablehlo.convolution" in text) != sliced


@pytest.mark.parametrize("case", [case for case in CASES if case not in CASES[-2:]], ids=str)
def test_gradients_of_products_transpose_no_map(case: tuple) -> None:
    form, (x, kernel) = convolution(*case)
    derived = jax.jit(jax.grad(lambda x, k: jnp.sin(form(x, k)).sum(), argnums=(0, 1)))
    text = derived.trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
    transposed = re.findall(r"stablehlo.transpose .* -> tensor<([0-9x]+)xf32>", text)
    assert all(math.prod(map(int, shape.split("x"))) <= kernel.size for shape in transposed), transposed


def convolution(space: tuple[int, ...], kernel: int, stride: int) -> tuple[Callable, tuple]:
    """A convolution of 64 examples, as a function of the input and the kernel, and these."""
    arrays = jnp.zeros((64, *space, 2)), jnp.zeros((*[kernel] * len(space), 2, 4))
    numbers = (f"N{'DHW'[: len(space)]}C", f"{'DHW'[: len(space)]}IO", f"N{'DHW'[: len(space)]}C")
    pads, strides = [(kernel // 2,) * 2] * len(space), [stride] * len(space)
    return lambda x, k: convolve(x, k, strides, pads, dimension_numbers=numbers), arrays
