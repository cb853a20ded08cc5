"""The fused view `augment` against one operation after the other, and blurs and windows against their definitions."""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import stepwise
from mmcl_jax.views import VIEWS, augment
from mmcl_jax.views.sampling import Blur, sample

# The tests compile without optimisation, and JAX 0.12 then changes the hue of some images wrongly in `in_steps`.
OPTIMISED = {"xla_backend_optimization_level": 1}
KEYS = jax.random.split(jax.random.key(5), 64)
DEFAULTS = {name: option.default for name, option in inspect.signature(augment).parameters.items()}
STRONG = {"probability": 0.8, "jitter": 0.9, "hue": 0.3, "grayscale": 0.5, "rotation": 60.0}
CASES: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "the default": ((18, 13, 3), np.uint8, {}),
    "all parts, no crop": (
        (18, 13, 3), np.uint8, {**STRONG, "crop_scale": (1.0, 1.0), "size": (40, 30), "blur": 1.0},
    ),
    "a window wider than the image, of floats in two channels": (
        (16, 16, 2), np.float16, {**STRONG, "blur": 1.0, "blur_kernel": 99, "blur_sigma": (0.01, 9.0), "size": (9, 14)},
    ),
    "long windows, always flipped, grey in 16 bits": (
        (13, 18, 1), np.uint16, {"crop_ratio": (0.1, 10.0), "crop_scale": (0.02, 0.5), "flip": 1.0, "size": (5, 17)},
    ),
}  # fmt: skip


def drawn(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Images of noise, half of which are dark or bright, where blends are clipped."""
    unit = np.random.default_rng(1).random((len(KEYS), *shape)) ** np.linspace(0.2, 3, len(KEYS)).reshape(-1, 1, 1, 1)
    return jnp.asarray((unit * (1 if dtype == np.float16 else np.iinfo(dtype).max)).astype(dtype))


def fused(stored: jax.Array, keys: jax.Array, options: dict[str, Any]) -> jax.Array:
    return VIEWS.build(VIEWS.spec("augment", **options), "view").apply(stored, keys, {}).values


def in_steps(stored: jax.Array, keys: jax.Array, options: dict[str, Any]) -> jax.Array:
    return stepwise.augment(stored, keys, {**DEFAULTS, **options})


@pytest.mark.parametrize("case", CASES)
def test_the_fused_view_is_one_operation_after_the_other(case: str) -> None:
    shape, dtype, options = CASES[case]
    stored = drawn(shape, dtype)
    found, expected = (
        jax.jit(lambda *rows, f=form: f(*rows, options), compiler_options=OPTIMISED)(stored, KEYS)
        for form in (fused, in_steps)
    )
    assert found.dtype == jnp.float32
    assert float(expected.std()) > 0.1  # there is something to compare
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


def test_the_gradient_by_the_pixels_is_the_same() -> None:
    """Of pixels of floats, which need no cast; the weights tell the pixels of a view apart."""
    options = {"size": (6, 9), "grayscale": 0.5, "blur_kernel": 5}
    weights = jnp.arange(9.0)[None, None, :, None]

    def gradient(form: Any) -> Any:
        return lambda stored, keys: jax.grad(lambda stored: (form(stored, keys, options) * weights).sum())(stored)

    stored = drawn((10, 9, 3), np.float16)
    found, expected = (jax.jit(gradient(form))(stored, KEYS) for form in (fused, in_steps))
    assert bool(jnp.isfinite(found).all())
    assert float(jnp.abs(expected).max()) > 1
    np.testing.assert_allclose(found.astype(jnp.float32), expected.astype(jnp.float32), atol=0.02, rtol=0.01)


@pytest.mark.core
def test_a_blurred_window_is_exact() -> None:
    """In float64: reflect, blur with the normalised Gaussian, cut the window, interpolate, mirror."""
    rng = np.random.default_rng(2)
    image, deviations = rng.random((11, 8, 2)), (0.0, 0.04, 0.3, 2.5)
    run = jax.jit(
        lambda deviation: sample(
            jnp.asarray(image, jnp.float32),
            (6, 7),
            origin=jnp.array([2.0, 1.0]),
            extent=jnp.array([7.0, 5.0]),
            mirrored=jnp.array([True, False]),
            blur=Blur(deviation, 9),
        )
    )
    for deviation in deviations:
        offsets = np.arange(-4, 5)
        taps = np.exp(-(offsets**2) / (2 * deviation**2)) if deviation else (offsets == 0).astype(float)
        taps /= taps.sum()
        blurred = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        for axis in (0, 1):
            blurred = np.apply_along_axis(lambda line: np.convolve(line, taps, mode="valid"), axis, blurred)  # noqa: B023
        expected = blurred[2:9, 1:6]
        for axis, size in ((0, 6), (1, 7)):
            length = expected.shape[axis]
            at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
            low, share = np.floor(at).astype(int), (at % 1).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            high = np.minimum(low + 1, length - 1)
            expected = (1 - share) * expected.take(low, axis) + share * expected.take(high, axis)
        np.testing.assert_allclose(run(jnp.float32(deviation)), expected[::-1], atol=1e-6, err_msg=str(deviation))


@pytest.mark.core
def test_an_image_is_gathered_once_and_multiplied_twice() -> None:
    """No convolution runs, the rotation alone gathers pixels, and each axis has one matrix product."""
    options = {**STRONG, "blur": 1.0, "size": (17, 19)}
    rows = jax.ShapeDtypeStruct((4, 32, 24, 3), jnp.uint8), jax.eval_shape(lambda: KEYS[:4])
    trace = jax.make_jaxpr(lambda stored, keys: fused(stored, keys, options))(*rows).jaxpr
    large = [equation for equation in equations(trace) if equation.outvars[0].aval.size >= 4 * 17 * 19 * 3]
    seen = [equation.primitive.name for equation in large]
    assert seen.count("conv_general_dilated") == 0
    assert seen.count("gather") == 1
    assert seen.count("dot_general") == 2


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a trace, and of the functions that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda value: hasattr(value, "jaxpr")):
            if hasattr(inner, "jaxpr"):
                yield from equations(inner.jaxpr)
