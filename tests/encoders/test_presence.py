"""Rows that are absent: they change nothing for the others, whatever they hold, and get no gradient."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import ENCODERS, PROJECTORS, Features, ViewSpec, build_model
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.resnet import BasicBlock, ResNet
from mmcl_jax.encoders.statistics import apart
from mmcl_jax.errors import UserError

JUNK = {"zeros": 0.0, "nan": np.nan, "large": 1e30, "infinite": np.inf, "code": -127.0}
CHANNELS, ROWS = 3, 12
PRESENT = {
    "all": np.ones(ROWS, bool),
    "some": np.array([1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0], bool),
    "an empty group": np.array([1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0], bool),
    "one": np.arange(ROWS) == 5,
    "none": np.zeros(ROWS, bool),
}
SHAPES = {"vectors": (), "maps": (2, 3), "local": (4,)}


@functools.cache
def normalised(shape: str, group_size: int | None) -> Callable[..., Any]:
    """The compiled layer: outputs, gradients by (x, scale, bias) of a weighted sum of them, running statistics."""
    layer = BatchNorm(CHANNELS, group_size=group_size, momentum=0.9, epsilon=1e-5, dtype=jnp.float32)
    layer.scale[...], layer.bias[...] = jnp.array([0.5, 1.0, 2.0]), jnp.array([-1.0, 0.0, 1.0])
    layer.mean[...] = jnp.array([0.1, 0.2, 0.3])
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    @jax.jit
    def run(x: jax.Array, present: jax.Array, weights: jax.Array) -> Any:
        def loss(x: jax.Array, params: nnx.State) -> Any:
            layer = nnx.merge(graph, params, rest, copy=True)
            y = layer(x, train=True, present=present)
            return (y * weights).sum(), (y, layer.mean[...], layer.var[...])

        gradients, found = jax.grad(loss, argnums=(0, 1), has_aux=True)(x, params)
        return *found, gradients[0], gradients[1]["scale"][...], gradients[1]["bias"][...]

    return run


def by_hand(x: np.ndarray, present: np.ndarray, weights: np.ndarray, group_size: int | None) -> list[np.ndarray]:
    """The same in float64, of every group without its absent rows."""
    size = group_size or len(x)
    y, by_x, by_scale, by_bias = np.zeros(x.shape), np.zeros(x.shape), np.zeros(CHANNELS), np.zeros(CHANNELS)
    scale, bias = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 1.0])
    means, variances = [], []
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        there = present[part]
        if not there.any():
            continue
        values, w = x[part][there].astype(np.float64), weights[part][there].astype(np.float64)
        mean, var, inverse = values.mean(axis=0), values.var(axis=0), (values.var(axis=0) + 1e-5) ** -0.5
        unit = (values - mean) * inverse
        y[part][there] = scale * unit + bias
        by_x[part][there] = scale * inverse * (w - w.mean(axis=0) - unit * (w * unit).mean(axis=0))
        by_scale += (w * unit).sum(axis=0)
        by_bias += w.sum(axis=0)
        means.append(mean)
        variances.append(var * len(values) / max(len(values) - 1, 1))
    old = np.array([0.1, 0.2, 0.3]), np.ones(CHANNELS)
    mean, var = (0.9 * a + 0.1 * np.mean(b, axis=0) if b else a for a, b in zip(old, (means, variances), strict=True))
    return [y, mean, var, by_x, by_scale, by_bias]


@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", PRESENT)
def test_normalisation_is_that_of_the_rows_without_the_absent_ones(
    rows: str, shape: str, group_size: int | None
) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(2, 3, (2, ROWS, *SHAPES[shape], CHANNELS)).astype(np.float32)
    present = PRESENT[rows]
    if shape == "local":  # some rows have fewer local features than others
        present = present[:, None] & (np.arange(4) < rng.integers(1, 5, (ROWS, 1)))
    spread = np.broadcast_to(present.reshape(*present.shape, *[1] * (x.ndim - 1 - present.ndim)), x.shape[:-1])
    expected = by_hand(x, spread, weights, group_size)
    first = None
    for junk in JUNK.values():
        x[~spread] = junk
        found = [np.asarray(array) for array in normalised(shape, group_size)(x, present, weights)]
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)
        assert not found[0][~spread].any()
        assert not found[3][~spread].any()  # the gradient by what absent rows hold
        first = first or found
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, first, strict=True))


def test_to_have_all_rows_is_to_be_told_nothing() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(2, 3, (ROWS, 2, 3, CHANNELS)), jnp.float32)
    found = []
    for present in (None, jnp.ones(ROWS, bool)):
        layer = BatchNorm(CHANNELS, group_size=4, momentum=0.9, epsilon=1e-5, dtype=jnp.float32)
        found.append((layer(x, train=True, present=present), layer(x, train=False, present=present), layer.var[...]))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


SPECS = {
    "cnn": ViewSpec(kind="image", shape=(8, 8, 2)),
    "vit": ViewSpec(kind="image", shape=(8, 8, 2)),
    "cnn3d": ViewSpec(kind="volume", shape=(4, 8, 8, 1)),
    "dcgan": ViewSpec(kind="image", shape=(32, 32, 1)),
    "table_mlp": ViewSpec(kind="table", shape=(3,), widths=(1, 4, 1), missing="token"),
    "resnet1d_cbam": ViewSpec(kind="table", shape=(3,), widths=(1, 4, 1), missing="token"),
    "vector_mlp": ViewSpec(kind="vector", shape=(5,)),
    "genetics_mlp": ViewSpec(kind="vector", shape=(5,)),
    "text_embedding": ViewSpec(kind="text", shape=(6, 2), widths=(10,)),
    "bert": ViewSpec(kind="text", shape=(6, 2), widths=(10,)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "cnn": {"channels": (4, 8)},
    "vit": {"width": 8, "depth": 1, "heads": 2, "patch": 4},
    "cnn3d": {"channels": (3, 4)},
    "dcgan": {"width": 2, "features": 4},
    "table_mlp": {"hidden": 8, "features": 4, "layers": 3},
    "resnet1d_cbam": {"channels": 4, "depths": (1, 1), "reduction": 2},
    "vector_mlp": {"hidden": 8, "features": 4, "layers": 3},
    "genetics_mlp": {"hidden": 8, "layers": 2},
    "text_embedding": {"features": 4},
    "bert": {"width": 8, "heads": 2, "layers": 1, "frozen_layers": None},
}


def config_of(name: str, **parts: Any) -> ConfigDict:
    return ConfigDict(
        {
            "dtype": "float32",
            "batch_norm": {"group_size": None, "momentum": 0.9, "epsilon": 1e-5},
            "encoders": {"it": ENCODERS.spec(name, **OPTIONS[name])},
            "projectors": {"it": PROJECTORS.spec("mlp_norm", hidden=(5,), out=3)},
            "predictors": {},
            "views": {},
            **parts,
        },
        allow_dotted_keys=True,
    )


def views(name: str, rows: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    spec = SPECS[name]
    if spec.kind == "text":
        length = rng.integers(1, spec.shape[0] + 1, (rows, 1, 1))
        return np.where(np.arange(spec.shape[0])[:, None] < length, rng.integers(0, 10, (rows, *spec.shape)), -1)
    if spec.kind == "table":
        numbers = rng.normal(size=(rows, 3))
        numbers[:, 1] = rng.integers(0, 4, rows)
        numbers[1, 0] = np.nan
        return numbers.astype(np.float32)
    return rng.normal(size=(rows, *spec.shape)).astype(np.float32)


def short_resnet(norm: Callable[[int], BatchNorm]) -> ResNet:
    """Return a ResNet of two blocks that are computed again for the gradient."""
    sizes = {"depths": (1, 1), "shape": SPECS["cnn"].shape, "stem": "cifar", "width": 0.0625, "remat": "blocks"}
    return ResNet(block=BasicBlock, **sizes, norm=norm, rngs=nnx.Rngs(0), dtype=jnp.float32)


@pytest.mark.parametrize(("name", "remat"), [(name, False) for name in SPECS] + [("cnn", True)])
def test_an_encoder_of_a_batch_with_absent_rows(name: str, remat: bool) -> None:
    """Features, gradients and statistics are those of the batch without them, whatever the absent rows hold."""
    config, specs = config_of(name), {"it": SPECS[name]}
    if SPECS[name].kind in ("image", "volume", "text") or name == "resnet1d_cbam":
        config.projectors["it.local"] = PROJECTORS.spec("mlp_norm", hidden=(5,), out=3)
    model = build_model(config, specs, rngs=nnx.Rngs(0))
    if remat:
        model.encoders["it"] = short_resnet(functools.partial(BatchNorm, dtype=jnp.float32, **config.batch_norm))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def run(view: jax.Array, present: jax.Array | None) -> Any:
        def loss(params: nnx.State) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            features = model.encode("it", view, train=True, present=present)
            found = {"pooled": features.pooled, "projected": model.project("it", features, train=True, present=present)}
            if features.local is not None:
                there = features.local_present(present)
                local = model.project("it.local", features, train=True, present=present)
                count = local[..., 0].size if there is None else jnp.maximum(there.sum(dtype=jnp.float32), 1)
                found["local"] = jnp.square(local - 1) / count
                if there is not None:
                    found["local"] = jnp.where(there[..., None], found["local"], 0)
            rows = len(view) if present is None else jnp.maximum(present.sum(dtype=jnp.float32), 1)
            value = jnp.cos(found["projected"]).sum(axis=1) + features.pooled.sum(axis=1)
            value = (value if present is None else jnp.where(present, value, 0)).sum() / rows
            state = apart(nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param))))[0]
            return value + found.get("local", jnp.zeros(())).sum(), (found, state)

        gradients, (found, state) = jax.grad(loss, has_aux=True)(params)
        return found, nnx.to_pure_dict(gradients), state

    view, present = views(name, 8), np.array([0, 1, 1, 0, 1, 1, 1, 0], bool)
    expected = run(view[present], None)
    first = None
    for junk in JUNK.values() if view.dtype == np.float32 else (0, -1, -127, 2**31 - 1):
        view[~present] = junk
        found = jax.device_get(run(view, present))
        first = first or found
        jax.tree.map(np.testing.assert_array_equal, found, first)
    outputs, *others = first
    assert not any(array[~present].any() for array in outputs.values())
    kept = [{key: array[present] for key, array in outputs.items()}, *others]
    for mine, theirs in zip(jax.tree.leaves(kept), jax.tree.leaves(list(expected)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5 * max(1, np.abs(theirs).max()))
    outputs, gradients, state = jax.device_get(run(view, np.zeros(8, bool)))
    assert all(not array.any() for array in jax.tree.leaves((outputs, gradients)))
    before = nnx.to_pure_dict(rest)
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_features_of_absent_rows_are_zeros_in_evaluation_too() -> None:
    model = build_model(config_of("text_embedding"), {"it": SPECS["text_embedding"]}, rngs=nnx.Rngs(0))
    view, present = jnp.asarray(views("text_embedding", 4)), jnp.array([True, False, True, False])
    found = model.encode("it", view, train=False, present=present)
    alone = model.encode("it", view[present], train=False)
    assert isinstance(found, Features)
    for name in ("pooled", "local", "mask"):
        np.testing.assert_array_equal(getattr(found, name)[present], getattr(alone, name))
        assert not getattr(found, name)[~present].any()


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"projectors": {"it.local": PROJECTORS.spec("mlp")}}, "config.projectors.it.local: the encoder of 'it' has"),
        ({"projectors": {"it.pooled": PROJECTORS.spec("mlp")}}, r"'it.pooled' is not of the form MODALITY\[.local\]"),
        ({"projectors": {"that:it": PROJECTORS.spec("mlp")}}, "that:it: config.encoders has no 'that'"),
        (
            {"encoders": {"it": ENCODERS.spec("cnn")}},
            "config.encoders.it.name: the encoder 'cnn' takes the kind image, and 'it' is",
        ),
        ({"encoders": {"it": ENCODERS.spec("text_embedding")}}, "'text_embedding' takes the kind text, and"),
        (
            {"encoders": {"it": ENCODERS.spec("vector_mlp", layers=0)}},
            "config.encoders.it: hidden, features and",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_model(config_of("vector_mlp", **parts), {"it": SPECS["vector_mlp"]}, rngs=nnx.Rngs(0))


def test_projectors_and_predictors_are_built_for_what_they_project() -> None:
    heads = {key: PROJECTORS.spec("mlp", hidden=4, out=out) for key, out in [("it", 2), ("it.local", 3), ("it:a", 5)]}
    config = config_of("cnn", projectors=heads, predictors={"it.local": PROJECTORS.spec("linear", out=7)})

    def run() -> dict[str, jax.Array]:
        model = build_model(config, {"it": SPECS["cnn"]}, rngs=nnx.Rngs(0))
        features = model.encode("it", jnp.asarray(views("cnn", 2)), train=True)
        found = {key: model.project(key, features, train=True) for key in heads}
        return {**found, "predicted": model.predict("it.local", found["it.local"], train=True)}

    shapes = {key: array.shape for key, array in jax.eval_shape(run).items()}
    assert shapes == {"it": (2, 2), "it.local": (2, 4, 3), "it:a": (2, 5), "predicted": (2, 4, 7)}
