"""Layers against their definitions, and grouped batch normalisation against itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders.layers import BatchNorm, conv, linear, norm_relu
from mmcl_jax.encoders.operations.pool import max_pool_3x3

X = jnp.asarray(np.random.default_rng(0).normal(2, 3, (12, 5, 4, 6)), jnp.float32)


def norm(group_size: int | None, channels: int = 6) -> BatchNorm:
    return BatchNorm(channels, group_size=group_size, momentum=0.9, epsilon=1e-5, dtype=jnp.float32)


@pytest.mark.core
def test_every_group_is_normalised_by_itself() -> None:
    y = norm(4)(X, train=True)
    for group in range(3):
        part = np.asarray(X[4 * group : 4 * group + 4], np.float64)
        mean, var = part.mean(axis=(0, 1, 2)), part.var(axis=(0, 1, 2))
        np.testing.assert_allclose(
            y[4 * group : 4 * group + 4], (part - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5
        )


@pytest.mark.core
def test_no_group_size_means_the_whole_batch() -> None:
    np.testing.assert_allclose(norm(None)(X, train=True), norm(12)(X, train=True), rtol=1e-6)


@pytest.mark.core
def test_running_statistics_are_unbiased_averages_over_groups() -> None:
    layer = norm(4)
    layer(X, train=True)
    groups = np.asarray(X, np.float64).reshape(3, -1, 6)
    np.testing.assert_allclose(layer.mean[...], 0.1 * groups.mean(axis=1).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.var[...], 0.9 + 0.1 * groups.var(axis=1, ddof=1).mean(axis=0), rtol=1e-5)
    before = np.asarray(layer.mean[...])
    y = layer(X, train=False)
    np.testing.assert_array_equal(layer.mean[...], before)
    np.testing.assert_allclose(
        y, (np.asarray(X) - before) / np.sqrt(np.asarray(layer.var[...]) + 1e-5), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("present", [None, np.arange(12) % 5 != 1], ids=["all", "some"])
def test_the_relu_is_that_of_the_normalised_values(train: bool, present: np.ndarray | None) -> None:
    alone, both = norm(4), norm(4)
    present = None if present is None else jnp.asarray(present)
    expected = nnx.relu(alone(X, train=train, present=present))
    np.testing.assert_allclose(norm_relu(both, X, train=train, present=present), expected, rtol=1e-6, atol=1e-6)
    for name in ("mean", "var"):
        np.testing.assert_array_equal(getattr(both, name)[...], getattr(alone, name)[...])
    assert len(both.records) == len(alone.records)


def test_cutting_the_batch_at_group_bounds_changes_no_gradient() -> None:
    layer = norm(4)
    graphdef, state = nnx.split(layer)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=X.shape), jnp.float32)

    def loss(state, x, w):
        return jnp.sum(jnp.square(nnx.merge(graphdef, state)(x, train=True)) * w)

    whole = jax.grad(loss, argnums=(0, 1), allow_int=True)(state, X, weights)
    parts = [jax.grad(loss, argnums=(0, 1))(state, X[i : i + 4], weights[i : i + 4]) for i in (0, 4, 8)]
    np.testing.assert_allclose(whole[1], jnp.concatenate([p[1] for p in parts]), rtol=1e-5, atol=1e-6)
    for name in ("scale", "bias"):
        np.testing.assert_allclose(whole[0][name][...], sum(p[0][name][...] for p in parts), rtol=1e-4, atol=1e-4)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="12 examples does not divide into groups of 5"):
        norm(5)(X, train=True)


def test_convolution_pads_like_pytorch() -> None:
    # 3x3 at stride 2 over 6 pixels: PyTorch's padding of 1 centres the first window on pixel 0, XLA's SAME on pixel 1.
    layer = conv(1, 1, 3, stride=2, rngs=nnx.Rngs(0), dtype=jnp.float32)
    layer.kernel[...] = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    image = jnp.arange(36.0).reshape(1, 6, 6, 1)
    np.testing.assert_array_equal(layer(image)[0, :, :, 0], image[0, ::2, ::2, 0])


def test_the_stem_pool_pads_with_minus_infinity() -> None:
    pooled = max_pool_3x3(-jnp.ones((1, 4, 4, 1)))
    np.testing.assert_array_equal(pooled, -jnp.ones((1, 2, 2, 1)))


def test_initial_distributions_are_pytorchs() -> None:
    rngs = nnx.Rngs(0)
    layer = linear(400, 300, rngs=rngs, dtype=jnp.float32)
    for values in (layer.kernel[...], layer.bias[...]):
        assert float(jnp.abs(values).max()) <= 1 / 20 + 1e-6
        np.testing.assert_allclose(values.std(), 1 / 20 / np.sqrt(3), rtol=0.1)
    kernel = conv(32, 64, 3, rngs=rngs, dtype=jnp.float32).kernel[...]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 64)), rtol=0.05)
