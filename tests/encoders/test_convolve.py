"""Convolutions of small maps against XLA's convolution, in value and in both gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.encoders.convolve import convolve

pytestmark = pytest.mark.core
# (space, kernel, stride): maps of the input or of the result that are smaller than the kernel, and two that are not.
CASES = [
    ((1, 1), 3, 1),
    ((2, 2), 3, 1),
    ((2, 2), 3, 2),
    ((4, 4), 3, 2),
    ((5, 1), 3, 2),
    ((5, 4), 7, 2),
    ((2,), 7, 1),
    ((1, 2, 3), 3, 2),
    ((4, 3), 3, 1),
    ((1, 1), 1, 2),
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
def test_on_cpus_alone_no_map_is_smaller_than_the_kernel_of_a_convolution(case: tuple, platform: str) -> None:
    space, kernel, stride = case
    shapes = jnp.zeros((2, *space, 2)), jnp.zeros((*[kernel] * len(space), 2, 4))
    numbers = (f"N{'DHW'[: len(space)]}C", f"{'DHW'[: len(space)]}IO", f"N{'DHW'[: len(space)]}C")
    pads, strides = [(kernel // 2,) * 2] * len(space), [stride] * len(space)
    form = jax.jit(lambda x, k: convolve(x, k, strides, pads, dimension_numbers=numbers))
    text = form.trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    sliced = platform == "cpu" and case not in CASES[-2:]
    assert ("stablehlo.convolution" in text) != sliced
