"""Encoders and views called on plain arrays, without a config."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mmcl_jax.encoders as encoders
import mmcl_jax.views as views
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS
from tests.foreign import Foreign

pytestmark = pytest.mark.core

B = 2
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (B, 8, 8, 3), np.uint8)
VOLUMES = RNG.integers(0, 256, (B, 4, 8, 8, 1), np.uint8)
TEXT = np.array([[[3, 0], [1, 0]], [[2, 0], [-1, -1]]], np.int32)
TABLE = np.array([[0.5, 2.0], [-1.0, 0.0]])
SCALE = {"mean": np.zeros(2), "std": np.full(2, 2.0)}
PART, WIDE = (encoders.fusions.Part(tokens=jnp.ones((B, 1, width))) for width in (3, 8))

# By name: the options of a small one, and what it is called on.
ENCODED: dict[str, tuple[dict[str, Any], Any]] = {
    "resnet18": ({"shape": (8, 8, 3), "width": 0.1, "stem": "cifar"}, IMAGES / 255),
    "resnet50": ({"shape": (8, 8, 3), "width": 0.05, "stem": "cifar"}, IMAGES / 255),
    "cnn": ({"shape": (8, 8, 3), "channels": (4, 8)}, IMAGES / 255),
    "vit": ({"shape": (8, 8, 3), "width": 8, "depth": 1, "heads": 2}, IMAGES / 255),
    "vit_small": ({"shape": (8, 8, 3), "patch": 8}, IMAGES / 255),
    "vit_base": ({"shape": (8, 8, 3), "patch": 8}, IMAGES / 255),
    "cnn3d": ({"shape": (4, 8, 8, 1), "channels": (4, 8)}, VOLUMES / 255),
    "dcgan": ({"shape": (32, 32, 1), "width": 2, "features": 8}, np.ones((B, 32, 32, 1))),
    "laplace_mlp": ({"shape": (8, 8, 3), "hidden": 8}, IMAGES / 255),
    "laplace_conv": ({"shape": (32, 32, 1), "width": 2}, np.ones((B, 32, 32, 1))),
    "laplace_dcgan": ({"shape": (32, 32, 1), "width": 2, "features": 8}, np.ones((B, 32, 32, 1))),
    "table_mlp": ({"widths": (1, 3), "hidden": 8, "features": 8}, TABLE),
    "table_transformer": ({"widths": (1, 3), "width": 8, "heads": 2, "blocks": 1}, TABLE),
    "resnet1d_cbam": ({"widths": (1, 3), "channels": 4, "depths": (1, 1)}, TABLE),
    "genetics_mlp": ({"shape": (2,), "hidden": 8}, TABLE),
    "vector_mlp": ({"shape": (2,), "hidden": 8, "features": 8}, TABLE),
    "text_embedding": ({"vocabulary": 4, "features": 8}, TEXT),
    "bert": ({"vocabulary": 4, "width": 8, "heads": 2, "layers": 1, "frozen_layers": 1}, TEXT),
    "concat_mlp": ({"parts": (3,), "hidden": 8, "features": 8}, (PART,)),
    "cross_attention": ({"parts": (3, 3), "width": 8, "heads": 2, "blocks": 1}, (PART, PART)),
    "daft": ({"parts": (8, 3)}, (WIDE, PART)),
    "max": ({"parts": (3, 3), "features": 8}, (PART, PART)),
    "mul": ({"parts": (8, 3)}, (WIDE, PART)),
}
VIEWED: dict[str, tuple[dict[str, Any], np.ndarray, dict[str, Any], tuple[int, ...]]] = {
    "resized": ({"size": (4, 4)}, IMAGES, {}, (4, 4, 3)),
    "augment": ({"size": (4, 4), "blur": 0.0}, IMAGES, {}, (4, 4, 3)),
    "frontal": ({"size": (4, 4), "blur": 0.0}, IMAGES, {}, (4, 4, 3)),
    "rotated": ({"size": (4, 4)}, IMAGES, {}, (4, 4, 3)),
    "noisy": ({"size": (4, 4)}, IMAGES, {}, (4, 4, 3)),
    "resized_volume": ({"size": (2, 4, 4)}, VOLUMES, {}, (2, 4, 4, 1)),
    "augment_volume": ({"size": (2, 4, 4)}, VOLUMES, {}, (2, 4, 4, 1)),
    "scan": ({"size": (2, 4, 4), "histogram": "none"}, VOLUMES, {}, (2, 4, 4, 1)),
    "rows": ({}, TABLE, {}, (2,)),
    "scarf": ({}, TABLE, {"population": TABLE}, (2,)),
    "mask": ({}, TABLE, {}, (2,)),
    "tokens": ({"drop": 0.5}, TEXT, {"tokens": np.ones(4, bool), "unknown": np.int32(0)}, (2, 2)),
    "report": ({"special_tokens": False}, TEXT, {"tokens": np.ones(4, bool), "unknown": np.int32(0)}, (2, 2)),
    "vector": ({}, TABLE, SCALE, (2,)),
    "vector_noise": ({"noise": 3}, TABLE, SCALE, (5,)),
    "vector_scarf": ({}, TABLE, {**SCALE, "population": TABLE}, (2,)),
}


def test_every_registered_encoder_and_view_has_its_name_and_a_call_here() -> None:
    assert set(ENCODED) == set(ENCODERS.names())
    assert set(VIEWED) == set(VIEWS.names()) - {"fused"}  # a view of features, which is no function of arrays
    for name in ENCODED:
        assert getattr(encoders, name) is ENCODERS.factory(name)
    for name in VIEWED:
        assert getattr(views, name) is VIEWS.factory(name)


@pytest.mark.parametrize("name", ENCODED)
def test_an_encoder_is_made_of_a_shape_and_called_on_an_array(name: str) -> None:
    options, view = ENCODED[name]

    def make() -> Any:
        return getattr(encoders, name)(**options, rngs=nnx.Rngs(0))

    encoder = make() if name == "cnn" else nnx.eval_shape(make)
    read = view if isinstance(view, tuple) else Foreign(view)
    pooled = nnx.eval_shape(lambda encoder: encoder(read, train=False).pooled, encoder)
    assert (pooled.shape, pooled.dtype) == ((B, encoder.out_features), jnp.float32)
    if name == "cnn":
        np.testing.assert_array_equal(encoder(read, train=False).pooled, encoder(jnp.array(view), train=False).pooled)


def test_defaults_for_calls_are_no_options_of_a_config() -> None:
    for name in ENCODERS.names():
        given = {"kind", "shape", "widths", "missing", "bin_edges", "parts", "norm", "rngs", "dtype"}
        assert not given & set(ENCODERS.options(name))
        assert {"rngs"} < set(inspect.signature(ENCODERS.factory(name)).parameters)


def test_a_default_encoder_computes_in_the_type_that_is_asked_for() -> None:
    options, images = ENCODED["resnet18"]
    encoder = encoders.resnet18(**options, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    for given in (None, np.ones(B, bool)):
        pooled = nnx.eval_shape(lambda encoder, given=given: encoder(images, train=True, present=given).pooled, encoder)
        assert pooled.dtype == jnp.bfloat16


@pytest.mark.parametrize("name", VIEWED)
def test_a_view_is_made_of_an_array_and_a_key(name: str) -> None:
    options, array, fitted, shape = VIEWED[name]
    view = getattr(views, name)(**options)
    key = jax.random.key(0)
    read = Foreign(array)
    for train, keys in ((True, key), (True, jax.random.split(key, B)), (False, key if view.drawn else None)):
        made = jax.eval_shape(lambda keys, train=train: view(read, keys, train=train, **fitted).values, keys)
        assert made.shape == (B, *shape)


def test_one_key_is_split_and_the_plain_view_is_that_of_evaluation() -> None:
    view, key = views.scarf(rate=0.5), jax.random.key(1)
    once = view(TABLE, key, population=TABLE)
    np.testing.assert_array_equal(once.values, view(TABLE, jax.random.split(key, B), population=TABLE).values)
    np.testing.assert_array_equal(once.changed.sum(axis=1), 1)
    np.testing.assert_allclose(views.vector()(TABLE, key, **SCALE).values, TABLE / 2)
    np.testing.assert_allclose(views.resized()(IMAGES).values, IMAGES / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: views.augment()(IMAGES), "a training view draws at random; pass a key, or train=False"),
        (
            lambda: views.augment()(IMAGES[0], jax.random.key(0)),
            "takes arrays of 4 axes, the first of which counts examples",
        ),
        (
            lambda: views.scarf()(TABLE, jax.random.key(0)),
            "needs the array 'population' of the training rows; pass",
        ),
        (lambda: views.vector()(TABLE), "needs the array 'mean' of the training rows; pass it as mean="),
        (lambda: views.rows()(TABLE.tolist()), "table is of the type list; give an array"),
        (
            lambda: encoders.cnn(shape=(8, 8, 3), channels=(4,), rngs=nnx.Rngs(0))(IMAGES, train=False),
            "pixels are uint8; give floats in [0, 1]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        call()
    assert sentence in str(raised.value)
