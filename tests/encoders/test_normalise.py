"""Batch normalisation's own gradient against autodiff of its definition, in float64 and float32, and its statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.normalise import Form, normalised

pytestmark = pytest.mark.core
GROUPS, VECTORS, CHANNELS, EPSILON = 4, 6, 3, 1e-3
MASKS = {"all": None, "some": np.random.default_rng(1).random((GROUPS, VECTORS)) < 0.6}
MASKS["some"][1], MASKS["some"][2] = False, np.arange(VECTORS) == 4  # an empty group, and a group of one vector
CASES = (("all", False, 2), ("all", True, 1), ("some", False, 1), ("some", True, 2))  # mask, ReLU, passes


def drawn(dtype: str) -> tuple[jax.Array, ...]:
    """Vectors, scale, bias, and weights of the results."""
    rng = np.random.default_rng(0)
    shapes = ((GROUPS, VECTORS, CHANNELS), (CHANNELS,), (CHANNELS,), (GROUPS, VECTORS, CHANNELS))
    return tuple(jnp.asarray(rng.normal(0.3, 1, shape), dtype) for shape in shapes)


def ours(x, scale, bias, mask, *, relu: bool, passes: int) -> tuple[jax.Array, ...]:
    x = x if mask is None else zero_absent(x, mask)
    y, of = normalised(Form(EPSILON, relu, x.dtype, passes), x, scale, bias, mask)
    return y, of.mean, of.var


def defined(x, scale, bias, mask, *, relu: bool) -> tuple[jax.Array, ...]:
    """The definition, which JAX differentiates."""
    there = jnp.ones(x.shape[:2], bool) if mask is None else mask
    weight = there.astype(x.dtype)[..., None]
    count = jnp.maximum(weight.sum(axis=1, keepdims=True), 1)
    mean = (x * weight).sum(axis=1, keepdims=True) / count
    var = (jnp.square(x - mean) * weight).sum(axis=1, keepdims=True) / count
    y = (x - mean) / jnp.sqrt(var + EPSILON) * scale.reshape(1, 1, -1) + bias.reshape(1, 1, -1)
    return (jax.nn.relu(y) if relu else y) * weight, mean, var


@jax.jit
def every_case(x, scale, bias, weights) -> dict:
    """The result, the gradients and a second derivative of every case, by us and by the definition, in one program."""

    def derived(function, mask) -> tuple:
        def loss(x, scale, bias):
            y, mean, var = function(x, scale, bias, mask)
            return (jnp.square(y) * weights).sum() + jnp.sin(mean).sum() + jnp.square(var).sum()

        first = jax.grad(loss, argnums=(0, 1, 2))
        return (
            function(x, scale, bias, mask),
            first(x, scale, bias),
            jax.grad(lambda x: jnp.sin(first(x, scale, bias)[0]).sum())(x),
        )

    found = {}
    for name, relu, passes in CASES:
        mask = None if MASKS[name] is None else jnp.asarray(MASKS[name])
        mine = derived(functools.partial(ours, relu=relu, passes=passes), mask)
        found[name, relu, passes] = mine, derived(functools.partial(defined, relu=relu), mask)
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_the_gradient_is_that_of_the_definition(dtype: str, tolerance: float) -> None:
    with jax.enable_x64(True):
        found = every_case(*drawn(dtype))
    for (name, relu, passes), (mine, theirs) in found.items():
        for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
            assert one.dtype == dtype
            assert np.abs(other).max() > 1e-3
            np.testing.assert_allclose(
                one, other, rtol=tolerance, atol=10 * tolerance, err_msg=f"{name}, relu={relu}, {passes} passes"
            )


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_statistics_of_values_far_from_zero(dtype: str, mean: float) -> None:
    """The measure is the variance that rounding the values to `dtype` adds."""
    exact = np.random.default_rng(0).normal(mean, 1, (2, 4096, 8))
    rounded = jnp.asarray(exact, dtype)
    values = np.asarray(rounded, np.float64)
    added = np.square(values - exact).mean()
    one = jnp.ones(8)
    _, of = normalised(Form(EPSILON, False, rounded.dtype), rounded, one, one, None)
    np.testing.assert_allclose(of.mean[:, 0], values.mean(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(of.var[:, 0], values.var(axis=1), rtol=1e-5, atol=max(1e-6, added / 4))
