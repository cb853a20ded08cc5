"""Encoders: parameter counts, shapes, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS, PROJECTORS, Features, cnn
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.table_input import one_hot
from mmcl_jax.errors import UserError

DVM_WIDTHS = (1,) * 13 + (22, 13, 3, 12)


def build(name: str, *, dtype: str = "float32", shape: tuple[int, ...] = (32, 32, 3), **options: object) -> nnx.Module:
    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, group_size=2, momentum=0.9, epsilon=1e-5, dtype=jnp.dtype(dtype))

    return ENCODERS.build(
        ENCODERS.spec(name, **options),
        "encoder",
        shape=shape,
        widths=() if name == "text_embedding" else DVM_WIDTHS,
        missing="refuse",
        norm=norm,
        rngs=nnx.Rngs(0),
        dtype=jnp.dtype(dtype),
    )


def parameters(make) -> int:
    return sum(x.size for x in jax.tree.leaves(nnx.state(nnx.eval_shape(make), nnx.Param)))


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 11_176_512), ("resnet50", 23_508_032), ("table_mlp", 4_331_520)]
)
def test_parameter_counts_are_the_published_ones(name: str, count: int) -> None:
    assert parameters(lambda: build(name)) == count


@pytest.mark.core
def test_the_whole_mmcl_model_for_dvm_has_the_published_size() -> None:
    def projector() -> nnx.Module:
        return PROJECTORS.build(
            PROJECTORS.spec("mlp"), "projector", features=2048, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")
        )

    towers = sum(parameters(lambda name=name: build(name)) for name in ("resnet50", "table_mlp"))
    assert towers + 2 * parameters(projector) == 36_756_800


@pytest.mark.parametrize(
    ("name", "options", "local"),
    [
        ("resnet18", {"width": 0.125}, (1, 64)),
        ("resnet18", {"width": 0.125, "stem": "cifar"}, (16, 64)),
        ("resnet50", {"width": 0.125, "stem": "cifar"}, (16, 256)),
        ("cnn", {"channels": (4, 8)}, (64, 8)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features(name: str, options: dict[str, object], local: tuple[int, int], dtype: str) -> None:
    encoder = build(name, dtype=dtype, **options)
    features = nnx.jit(lambda e, x: e(x, train=True))(encoder, jnp.ones((4, 32, 32, 3)))
    assert isinstance(features, Features)
    assert features.pooled.shape == (4, encoder.out_features)
    assert features.local.shape == (4, *local)
    assert features.pooled.dtype == jnp.dtype(dtype)
    kept = jax.tree.leaves(nnx.state(encoder, (nnx.Param, nnx.BatchStat)))
    assert {x.dtype.name for x in kept} == {"float32"}


def test_computing_activations_again_keeps_fewer_and_changes_nothing() -> None:
    kept, results = {}, {}
    for remat in ("none", "blocks", "stages"):
        encoder = build("resnet18", stem="cifar", width=0.0625, remat=remat)
        graph, params, rest = nnx.split(encoder, nnx.Param, ...)

        def loss(params, x, graph=graph, rest=rest):
            model = nnx.merge(graph, params, rest, copy=True)
            pooled = model(x, train=True).pooled
            return jnp.square(pooled).sum(), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

        x = jax.random.normal(jax.random.key(0), (8, 16, 16, 3))
        saved = jax.eval_shape(lambda p, x, loss=loss: jax.vjp(lambda p: loss(p, x)[0], p)[1], params, x)
        kept[remat] = sum(leaf.size for leaf in jax.tree.leaves(saved))
        if remat != "blocks":
            results[remat] = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, x)
    assert kept["stages"] < kept["blocks"] < 0.5 * kept["none"]
    for mine, theirs in zip(jax.tree.leaves(results["stages"]), jax.tree.leaves(results["none"]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "options", "stages"),
    [
        ("resnet18", (32, 32, 3), {"width": 0.125}, [(8, 8, 8), (4, 4, 16), (2, 2, 32), (1, 1, 64)]),
        (
            "resnet50", (32, 16, 3), {"width": 0.0625, "stem": "cifar"},
            [(32, 16, 16), (16, 8, 32), (8, 4, 64), (4, 2, 128)],
        ),
        ("cnn", (32, 32, 3), {"channels": (4, 8)}, [(16, 16, 4), (8, 8, 8)]),
        ("cnn", (32, 32, 3), {"channels": (4, 8), "depths": (2, 3)}, [(16, 16, 4), (8, 8, 8)]),
        ("cnn3d", (5, 16, 12, 2), {"channels": (4, 8)}, [(3, 8, 6, 4), (2, 4, 3, 8)]),
    ],
)  # fmt: skip
def test_maps_of_the_stages(
    name: str, shape: tuple[int, ...], options: dict[str, object], stages: list[tuple[int, ...]]
) -> None:
    """The finest first; the positions of the last are the local features, in the order of its rows."""

    def run(view: jax.Array) -> tuple[jax.Array, ...]:
        encoder = build(name, shape=shape, **options)
        features = encoder(view, train=True)
        assert features.grid == stages[-1][:-1]
        assert features.local.shape == (2, int(np.prod(features.grid)), encoder.out_local_features)
        return features.stages

    maps = jax.eval_shape(run, jax.ShapeDtypeStruct((2, *shape), "float32"))
    assert [found.shape[1:] for found in maps] == stages


def test_the_last_map_is_the_local_features_row_by_row() -> None:
    view = jax.random.normal(jax.random.key(0), (2, 5, 8, 8, 1))
    found = build("cnn3d", shape=view.shape[1:], channels=(3, 4))(view, train=True)
    np.testing.assert_array_equal(found.local.reshape(2, *found.grid, 4), found.stages[-1])
    np.testing.assert_allclose(found.pooled, found.local.mean(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": ()}, r"channels must be a tuple of positive numbers, not \(\)"),
        ({"channels": (4, 8), "depths": (1, 0)}, r"depths must be a tuple of positive numbers, not \(1, 0\)"),
        ({"channels": (4, 8), "depths": (1,)}, r"depths must have a number for each of the 2 channels, not \(1,\)"),
    ],
)
def test_the_stages_of_a_cnn_are_checked(options: dict[str, tuple[int, ...]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cnn(shape=(8, 8, 3), rngs=nnx.Rngs(0), **options)


def test_a_stage_of_a_cnn_sees_farther_with_more_convolutions() -> None:
    """A pixel changes the maps as far as the kernels reach: with one convolution at stride 2 each, 7 pixels."""

    def seen(**options: tuple[int, ...]) -> int:
        encoder = cnn(shape=(32, 32, 1), channels=(8, 8), rngs=nnx.Rngs(0), **options)
        pixel = jnp.zeros((1, 32, 32, 1)).at[0, 15, 15].set(1e3)
        changed = encoder(pixel, train=False).local != encoder(0 * pixel, train=False).local
        return int(changed.any(axis=2).reshape(8, 8).any(axis=1).sum())

    assert 1 <= seen() <= 2
    assert seen(depths=(1, 3)) >= 4


def test_a_text_is_the_mean_of_its_tokens() -> None:
    encoder = build("text_embedding", features=4, vocabulary=7)
    view = np.full((3, 5, 2), -1, np.int32)
    view[0, :2, 0], view[1, :, 0] = [6, 0], [1, 1, 2, 3, 1]
    found = encoder(jnp.asarray(view), train=True)
    table = np.asarray(encoder.table[...])
    expected = [table[[6, 0]].mean(axis=0), table[[1, 1, 2, 3, 1]].mean(axis=0), np.zeros(4)]
    np.testing.assert_allclose(found.pooled, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.mask, view[..., 0] >= 0)
    np.testing.assert_array_equal(found.local, np.where(found.mask[..., None], table[view[..., 0]], 0))
    beyond = encoder(jnp.asarray(view).at[0, 0, 0].set(7), train=True).pooled
    assert np.isnan(beyond).all(axis=1).tolist() == [True, False, False]  # reported in training, never another token


def test_a_text_needs_a_vocabulary() -> None:
    with pytest.raises(UserError, match="encoder: no store gives the size of the vocabulary; set the option"):
        build("text_embedding")


def test_features_are_the_body_of_what_is_embedded() -> None:
    """So explanations can differentiate by what `embed` returns."""
    view = jnp.array([[0.5, *[0.0] * 12, 1, 2, 0, 3], [1.5, *[1.0] * 12, 0, 0, 1, 2]])
    encoder = build("table_mlp", hidden=4, features=3)
    embedded = encoder.embed(view)
    assert embedded.shape == (2, 63)
    np.testing.assert_array_equal(encoder.body(embedded, train=False).pooled, encoder(view, train=False).pooled)


def test_pooled_is_the_mean_of_local() -> None:
    features = build("cnn", channels=(4, 8))(jnp.ones((2, 32, 32, 3)) * 0.3, train=True)
    np.testing.assert_allclose(features.pooled, features.local.mean(axis=1), rtol=1e-6)


@pytest.mark.core
def test_one_hot_leaves_columns_in_place() -> None:
    rows = jnp.array([[0.5, 2.0, -1.0], [1.5, 0.0, 3.0]])
    np.testing.assert_array_equal(one_hot(rows, (1, 3, 1)), [[0.5, 0, 0, 1, -1.0], [1.5, 1, 0, 0, 3.0]])


def test_the_linear_projector_is_one_layer() -> None:
    projector = PROJECTORS.build(
        PROJECTORS.spec("linear", out=5), "projector", features=7, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")
    )
    assert projector(jnp.ones((2, 7)), train=True).shape == (2, 5)
    assert projector.layer.kernel[...].shape == (7, 5)


def test_the_projector_with_normalisation() -> None:
    def make() -> nnx.Module:
        def norm(channels: int) -> BatchNorm:
            return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=jnp.dtype("float32"))

        spec = PROJECTORS.spec("mlp_norm", hidden=(6, 4), out=3)
        return PROJECTORS.build(spec, "projector", features=5, norm=norm, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32"))

    assert parameters(make) == 5 * 6 + 6 * 4 + 4 * 3 + 2 * (6 + 4)  # no biases but those of the norms
    x = np.asarray(jax.random.normal(jax.random.key(0), (16, 5)))
    projector = make()
    found = projector(jnp.asarray(x), train=True)
    for place in (0, 1):
        x = x @ np.asarray(projector.layers[place].kernel[...])
        x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
    np.testing.assert_allclose(found, x @ np.asarray(projector.layers[2].kernel[...]), atol=1e-5)
