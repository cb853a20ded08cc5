"""The terms of MMVAE: float64 by loops, the gradients by their definitions, and samples in parts."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders import Features
from mmcl_jax.encoders.decoders import DECODERS
from mmcl_jax.objectives import mmvae, mmvae_original
from mmcl_jax.objectives.variational import bound_of, importance_bound, laplace_log_density, mixture_log_density

pytestmark = pytest.mark.core

B, M, K, D = 3, 2, 4, 2
RNG = np.random.default_rng(4)
MEANS, SCALES = RNG.normal(size=(B, M, D)), RNG.uniform(0.3, 2, size=(B, M, D))
NOISE = RNG.laplace(size=(B, M, K, D))
VIEWS = [RNG.uniform(size=(B, 2, 2, 1)), RNG.uniform(size=(B, 2, 4, 1))]
FACTORS = [2.0, 1.0]  # the larger view has twice the values
DECODER = DECODERS.spec("mlp", hidden=3)


def laplace(x: float, mean: float, scale: float) -> float:
    return -abs(x - mean) / scale - math.log(2 * scale)


def log_weight(row: int, z: np.ndarray, means: np.ndarray, scales: np.ndarray, decoded: list[np.ndarray]) -> float:
    """By the equation: prior, likelihood of all views, mixture of posteriors."""
    value = sum(laplace(number, 0, 1) for number in z)
    for view, factor, mean in zip(VIEWS, FACTORS, decoded, strict=True):
        value += factor * sum(laplace(x, m, 0.75) for x, m in zip(view[row].ravel(), mean.ravel(), strict=True))
    densities = [
        math.exp(sum(laplace(*of) for of in zip(z, means[row, m], scales[row, m], strict=True))) for m in range(M)
    ]
    return value - math.log(sum(densities) / M)


def bounds(weights: np.ndarray, bound: str) -> np.ndarray:
    """Of log-weights [B, M, K], by their definition."""
    if bound == "tight":
        return np.log(np.exp(weights).mean(axis=(1, 2)))
    return np.log(np.exp(weights).mean(axis=2)).mean(axis=1)


def decode(z: np.ndarray) -> list[np.ndarray]:
    """A decoder without parameters: the views' means are smooth functions of a sample."""
    return [np.full((2, 2, 1), np.tanh(z.sum())), np.full((2, 4, 1), np.sin(z[0]))]


def weights_of(z: jax.Array, means: jax.Array, scales: jax.Array, shift: jax.Array | float = 0.0) -> jax.Array:
    """The log-weights of `decode`, whose first view is shifted by the likelihood's only parameter."""
    value = laplace_log_density(z, jnp.zeros_like(z), jnp.ones_like(z)).sum(axis=-1)
    for view, factor, decoded in zip(VIEWS, FACTORS, (jnp.tanh(z.sum(-1)) + shift, jnp.sin(z[..., 0])), strict=True):
        flat = jnp.asarray(view, z.dtype).reshape(B, 1, 1, -1)
        value += factor * laplace_log_density(flat, decoded[..., None], jnp.asarray(0.75, z.dtype)).sum(axis=-1)
    return value - mixture_log_density(z, means, scales)


@pytest.mark.parametrize("bound", ["loose", "tight"])
def test_bounds_are_those_of_loops_in_float64(bound: str) -> None:
    samples = MEANS[:, :, None] + SCALES[:, :, None] * NOISE
    expected = np.zeros((B, M, K))
    for at in np.ndindex(B, M, K):
        expected[at] = log_weight(at[0], samples[at], MEANS, SCALES, decode(samples[at]))
    with jax.enable_x64(True):
        arrays = [jnp.asarray(array) for array in (MEANS, SCALES, NOISE)]
        np.testing.assert_allclose(weights_of(jnp.asarray(samples), *arrays[:2]), expected, rtol=1e-12)
        for gradient in ("iwae", "dreg", "released"):
            found = importance_bound(weights_of, *arrays, bound=bound, gradient=gradient)
            np.testing.assert_allclose(found, bounds(expected, bound), rtol=1e-12)
    tight, loose = (bounds(expected, name) for name in ("tight", "loose"))
    assert (tight > loose).all()


@pytest.mark.parametrize("bound", ["loose", "tight"])
def test_gradients_are_those_of_their_definitions(bound: str) -> None:
    """By a gradient of each sample's log-weight alone, and of float64 differences for the whole value."""
    with jax.enable_x64(True):
        means, scales, noise = (jnp.asarray(array) for array in (MEANS, SCALES, NOISE))
        samples = means[:, :, None] + scales[:, :, None] * noise
        log_weights = weights_of(samples, means, scales)
        axes = (2,) if bound == "loose" else (1, 2)
        w = np.exp(log_weights) / np.exp(log_weights).sum(axis=axes, keepdims=True)
        w_of_bound = w / M if bound == "loose" else w
        by_sample = jax.jit(jax.grad(lambda z: weights_of(z, means, scales).sum()))(samples)  # of its weight alone
        by_shift = jax.jit(jax.jacobian(lambda shift: weights_of(samples, means, scales, shift)))(jnp.zeros(()))

        @functools.partial(jax.jit, static_argnums=0)
        @functools.partial(jax.value_and_grad, argnums=(1, 2, 3))
        def total(gradient: str, means, scales, shift):
            weigh = functools.partial(weights_of, shift=shift)
            return importance_bound(weigh, means, scales, noise, bound=bound, gradient=gradient).sum()

        for gradient, coefficient in (("dreg", w_of_bound * w), ("released", w_of_bound)):
            _, (of_mean, of_scale, of_shift) = total(gradient, means, scales, jnp.zeros(()))
            expected = coefficient[..., None] * np.asarray(by_sample)
            np.testing.assert_allclose(of_mean, expected.sum(axis=2), rtol=1e-10)
            np.testing.assert_allclose(of_scale, (expected * NOISE).sum(axis=2), rtol=1e-10)
            np.testing.assert_allclose(of_shift, (w_of_bound * by_shift).sum(), rtol=1e-10)
        _, (of_mean, _, of_shift) = total("iwae", means, scales, jnp.zeros(()))
        np.testing.assert_allclose(of_shift, (w_of_bound * by_shift).sum(), rtol=1e-10)
        step = 1e-6
        for at in np.ndindex(B, M, D):
            move = np.zeros((B, M, D))
            move[at] = step
            ends = [total("iwae", means + sign * move, scales, jnp.zeros(()))[0] for sign in (1, -1)]
            np.testing.assert_allclose(of_mean[at], (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def features(which: int) -> Features:
    return Features(pooled=jnp.asarray(MEANS[:, which], jnp.float32), scale=jnp.asarray(SCALES[:, which], jnp.float32))


def test_the_term_draws_decodes_and_weighs_as_loops_do() -> None:
    """On its own decoders and a prior that was trained, whole and in parts, with an absent row."""
    views = tuple(jnp.asarray(view, jnp.float32) for view in VIEWS)
    options = {"between": ("a", "b"), "decoders": (DECODER,), "samples": K}
    layers = mmvae(**options).init(nnx.Rngs(1), features(0), features(1), views=views)
    layers["prior"].logits[...] = jnp.array([0.5, -0.25])
    key, ids = jax.random.key(6), np.arange(B, dtype=np.uint32) + 7
    noise = [jax.random.laplace(jax.random.fold_in(key, one), (M, K, D)) for one in ids]
    samples = MEANS[:, :, None] + SCALES[:, :, None] * np.asarray(noise, np.float64)
    prior = D * np.exp([0.5, -0.25]) / np.exp([0.5, -0.25]).sum()
    flat, weights = jnp.asarray(samples.reshape(-1, D), jnp.float32), np.zeros((B, M, K))
    decoded = [np.asarray(layers[f"decoder_{name}"](flat, train=True)).reshape(B, M, K, 2, -1, 1) for name in "ab"]
    for at in np.ndindex(B, M, K):
        weights[at] = log_weight(at[0], samples[at], MEANS, SCALES, [mean[at] for mean in decoded])
        weights[at] += sum(laplace(z, 0, b) - laplace(z, 0, 1) for z, b in zip(samples[at], prior, strict=True))
    loose = bounds(weights, "loose")
    arguments = {"views": views, "layers": layers, "key": key, "ids": ids}
    for size in (None, 2):
        term = mmvae(**options, at_a_time=size)
        found = term.with_metrics(features(0), features(1), **arguments)
        np.testing.assert_allclose([found.value, found.metrics["bound"]], [-loose.mean(), loose.mean()], rtol=1e-5)
    absent = tuple(view.at[1].set(jnp.nan) for view in views)
    present = np.array([True, False, True])
    total = mmvae_original(**options, at_a_time=2)(
        features(0), features(1), **{**arguments, "views": absent}, present=present
    )
    np.testing.assert_allclose(total, -loose[present].sum(), rtol=1e-5)


def test_samples_in_parts_have_the_same_gradient_in_less_memory() -> None:
    """Of the posteriors, the decoders and the prior; absent rows get none, and none is NaN."""
    views = tuple(jnp.asarray(RNG.uniform(size=(B, 8, 8, 1)), jnp.float32) for _ in range(M))
    present, results, memory = jnp.array([True, False, True]), [], []
    for size in (None, 4):
        term = mmvae(
            between=("a", "b"), decoders=(DECODERS.spec("mlp", hidden=64),), samples=64, at_a_time=size, gradient="dreg"
        )
        graph, params = nnx.split(nnx.Dict(term.init(nnx.Rngs(1), features(0), features(1), views=views)), nnx.Param)

        def loss(params, means, term=term, graph=graph):
            posteriors = [
                Features(pooled=mean, scale=features(which).scale * present[:, None].astype(jnp.float32))
                for which, mean in enumerate(means)
            ]
            layers = dict(nnx.merge(graph, params).items())
            return term(*posteriors, views=views, layers=layers, key=jax.random.key(0), present=present)

        means = [features(which).pooled for which in range(M)]
        compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(params, means).compile()
        memory.append(compiled.memory_analysis().temp_size_in_bytes)
        results.append(compiled(params, means))
    for whole, in_parts in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.isfinite(whole).all()
        np.testing.assert_allclose(in_parts, whole, rtol=1e-4, atol=1e-4)
    assert not np.asarray(results[1][1][1])[:, 1].any()
    assert memory[1] < memory[0] / 3


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    points, views = Features(pooled=jnp.zeros((2, 2))), (jnp.ones((2, 4, 4, 1)),)
    term = mmvae(between=("a",), decoders=(DECODER,))
    layers = term.init(nnx.Rngs(0), points, views=views)
    with pytest.raises(ArrayError, match="its encoder returns points; choose the encoder laplace_dcgan"):
        term(points, views=views, layers=layers, key=jax.random.key(0))
    posterior = Features(pooled=jnp.zeros((2, 2)), scale=jnp.ones((2, 2)))
    with pytest.raises(ArrayError, match="give key="):
        term(posterior, views=views, layers=layers)
    for options, sentence in (
        ({"samples": 4, "at_a_time": 3}, "at_a_time must divide samples"),
        ({"samples": 0}, "samples and likelihood_scale must be positive"),
        ({"between": ("a", "a")}, "must name pooled features of different views"),
        ({"between": ("a.local", "b")}, "must name pooled features of different views"),
        ({"decoders": (DECODER,) * 3}, "one entry for all views, or 2, not 3"),
    ):
        with pytest.raises(ValueError, match=sentence):
            mmvae(**{"between": ("a", "b"), **options})
    other = Features(pooled=jnp.zeros((2, 3)), scale=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="posteriors of one width, not 2 and 3"):
        mmvae(between=("a", "b"), decoders=(DECODER,)).init(nnx.Rngs(0), posterior, other, views=views * 2)


def test_the_bound_of_one_sample_is_its_weight() -> None:
    weights = jnp.asarray(RNG.normal(size=(B, 1, 1)), jnp.float32)
    for bound in ("loose", "tight"):
        np.testing.assert_allclose(bound_of(weights, bound), weights[:, 0, 0], rtol=1e-6)
