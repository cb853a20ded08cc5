"""The encoder `dcgan`, its heads and its decoder: sizes, initial weights, a step on volumes, and bad shapes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import DECODERS, ENCODERS, PROJECTORS
from mmcl_jax.encoders.layers import BatchNorm, batch_norm
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core


def encoder(shape: tuple[int, ...], **options: object) -> nnx.Module:
    spec = ENCODERS.spec("dcgan", **options)
    return ENCODERS.build(spec, "config.encoders.it", shape=shape, rngs=nnx.Rngs(0), norm=batch_norm)


def decoder(shape: tuple[int, ...], **options: object) -> nnx.Module:
    spec = DECODERS.spec("dcgan", **options)
    return DECODERS.build(spec, "decoder", shape=shape, features=64, rngs=nnx.Rngs(0), norm=batch_norm)


def parameters(made: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(made, nnx.Param)))


@pytest.mark.parametrize(
    ("shape", "count"), [((32, 32, 1), 295_808), ((32, 32, 3), 295_808 + 1024), ((64, 64, 64, 1), 3_804_032)]
)
def test_the_published_encoders_have_their_numbers_of_parameters(shape: tuple[int, ...], count: int) -> None:
    made = nnx.eval_shape(lambda: encoder(shape))
    assert parameters(made) == count


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("side", "local_side", "channels"),
    [(32, 8, 64), (64, 8, 128), (128, 8, 256), (32, 16, 32), (64, 32, 32), (128, 4, 512)],
)
def test_maps_halve_and_channels_double(axes: int, side: int, local_side: int, channels: int) -> None:
    shape = (*[side] * axes, 2)

    def run(view: jax.Array) -> tuple[jax.Array, ...]:
        features = encoder(shape, local_side=local_side)(view, train=True)
        assert features.grid == (local_side,) * axes
        return features.pooled, features.local, decoder(shape)(features.pooled, train=True), *features.stages

    found = jax.eval_shape(run, jax.ShapeDtypeStruct((3, *shape), "float32"))
    sides = [side >> layer for layer in range(1, side.bit_length() - 2)]
    maps = [(*[each] * axes, 32 * side // (2 * each)) for each in sides]
    assert [array.shape[1:] for array in found] == [(64,), (local_side**axes, channels), shape, *maps]


def test_local_features_are_the_map_before_its_norm_and_its_rectifier() -> None:
    made = encoder((32, 32, 1), width=2)
    view = jax.random.normal(jax.random.key(0), (2, 32, 32, 1))
    features = made(view, train=False)
    raw = made.convs[1](features.stages[0])
    np.testing.assert_allclose(features.local, raw.reshape(2, 64, 4), rtol=1e-5, atol=1e-6)
    normalised = made.norms[0](raw, train=False)
    np.testing.assert_allclose(features.stages[1], jnp.where(normalised > 0, normalised, 0.2 * normalised), rtol=1e-5)
    assert (features.pooled < 0).any()  # no rectifier behind the last convolution


def test_initial_kernels_are_glorots_with_the_gain_of_a_rectifier() -> None:
    relu, leaky = (encoder((32, 32, 32, 1), width=8, init=init) for init in ("relu", "leaky"))
    for mine, other in zip(relu.convs, leaky.convs, strict=True):
        *sides, inputs, outputs = mine.kernel.shape
        bound = math.sqrt(2) * math.sqrt(6 / (math.prod(sides) * (inputs + outputs)))
        values = np.asarray(mine.kernel[...])
        assert 0.98 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert mine.bias is None
        np.testing.assert_allclose(other.kernel[...], values / math.sqrt(1.04), rtol=1e-5)
    for last, squared in (("relu", 2.0), ("sigmoid", 1.0)):
        layers = decoder((32, 32, 32, 1), width=8, init=last).layers
        for layer, gain in zip(layers, [2.0] * (len(layers) - 1) + [squared], strict=True):
            *sides, inputs, outputs = layer.kernel.shape
            bound = math.sqrt(6 * gain / (math.prod(sides) * (inputs + outputs)))
            assert 0.95 * bound < np.abs(layer.kernel[...]).max() <= bound


@pytest.mark.parametrize(("features", "identity"), [(64, True), (48, True), (128, False)])
def test_the_shortcut_starts_as_the_identity_where_it_can(features: int, identity: bool) -> None:
    spec = PROJECTORS.spec("local_shortcut")
    head = PROJECTORS.build(spec, "head", features=features, rngs=nnx.Rngs(0))
    kernel = np.asarray(head.shortcut.kernel[...])
    assert kernel.shape == (features, 64)
    if identity:
        np.testing.assert_array_equal(np.diag(kernel), 1)
        noise = kernel[~np.eye(features, 64, dtype=bool)]
        assert 0.0099 < np.abs(noise).max() <= 0.01
        assert abs(noise.mean()) < 0.001
    else:  # PyTorch's
        assert 0.98 / math.sqrt(features) < np.abs(kernel).max() <= 1 / math.sqrt(features)
    bounds = {"hidden": features + 64, "out": 64 + 64}
    for name, fans in bounds.items():
        assert np.abs(getattr(head, name).kernel[...]).max() == pytest.approx(math.sqrt(12 / fans), rel=0.03)
    latent = PROJECTORS.build(PROJECTORS.spec("latent_mlp"), "head", features=features, rngs=nnx.Rngs(0))
    for layer, fans in zip(latent.layers, (features + 64, 128), strict=True):
        assert np.abs(layer.kernel[...]).max() == pytest.approx(math.sqrt(12 / fans), rel=0.03)
        assert layer.bias is None


def test_absent_places_change_nothing_of_the_head() -> None:
    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, group_size=2, momentum=0.9, epsilon=1e-5, dtype=jnp.float32)

    head = PROJECTORS.build(
        PROJECTORS.spec("local_shortcut", hidden=3, out=5), "", features=4, rngs=nnx.Rngs(0), norm=norm
    )
    rng = np.random.default_rng(0)
    x, present = rng.normal(size=(4, 6, 4)).astype(np.float32), rng.random((4, 6)) < 0.7
    graph, params, rest = nnx.split(head, nnx.Param, ...)

    @jax.jit
    def project(x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params, rest, copy=True)(x, train=True, present=jnp.asarray(present))

    first = np.asarray(project(jnp.asarray(x)))
    x[~present] = 1e6
    np.testing.assert_array_equal(np.asarray(project(jnp.asarray(x)))[present], first[present])
    mean = [first[rows][present[rows]].mean(axis=0) for rows in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(mean, np.zeros((2, 5)), atol=1e-5)  # each group is normalised by itself


def test_a_step_on_volumes_of_side_64() -> None:
    shape = (64, 64, 64, 1)
    graph, params, rest = nnx.split((encoder(shape, width=1, features=4), decoder_of(shape)), nnx.Param, ...)

    @jax.jit
    def step(params: nnx.State, view: jax.Array) -> tuple[jax.Array, nnx.State]:
        def loss(params: nnx.State) -> jax.Array:
            encode, decode = nnx.merge(graph, params, rest, copy=True)
            return jnp.square(decode(encode(view, train=True).pooled, train=True) - view).mean()

        value, slopes = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 0.05 * g / (1e-8 + jnp.abs(g).max()), params, slopes)

    view = jax.random.uniform(jax.random.key(0), (2, 8, 8, 8, 1))
    view = jnp.asarray(np.kron(view, np.ones((1, 8, 8, 8, 1), np.float32)))
    losses = []
    for _ in range(4):
        value, params = step(params, view)
        losses.append(float(value))
    assert losses[-1] < 0.95 * losses[0]


def decoder_of(shape: tuple[int, ...]) -> nnx.Module:
    return DECODERS.build(DECODERS.spec("dcgan", width=1), "", shape=shape, features=4, rngs=nnx.Rngs(1))


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((32, 64, 1), {}, "whose sides are all 32, 64 or 128, and these are 32 x 64; set the size of the view"),
        ((48, 48, 48, 1), {}, "and these are 48 x 48 x 48; set the size of the view"),
        ((32, 1), {}, "and these are 32;"),
        ((32, 32, 1), {"local_side": 32}, "local_side is the side of a map, 16 or 8 or 4 for views of side 32, not 32"),
        ((32, 32, 1), {"width": 0}, "width and features must be positive, not 0 and 64"),
        ((32, 32, 1), {"init": "kaiming"}, "config.encoders.it.init: 'kaiming' is not of type"),
    ],
)
def test_bad_sizes_are_named(shape: tuple[int, ...], options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        encoder(shape, **options)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("config.encoders.it")
    if not options:
        with pytest.raises(UserError, match=r"^decoder: dcgan takes images and volumes"):
            decoder(shape)
