"""The term of several labels, against NumPy, and as a probe that changes nothing but its own layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Features
from mmcl_jax.objectives import multi_label
from mmcl_jax.objectives.stages import Each

pytestmark = pytest.mark.core

LABELS = ("edema", "effusion", "nodule")
RNG = np.random.default_rng(1)
FEATURES = jnp.asarray(RNG.normal(size=(12, 8)), jnp.float32)
CODES = RNG.integers(-1, 2, (12, 3))  # -1 for a label that the row lacks
TARGETS = {name: jnp.asarray(CODES[:, k], jnp.int32) for k, name in enumerate(LABELS)}


def test_the_loss_is_the_mean_over_the_labels_that_rows_have() -> None:
    logits = RNG.normal(size=(12, 3))
    present = np.arange(12) % 4 > 0
    known = (CODES >= 0) & present[:, None]
    share = 1 / (1 + np.exp(-logits))
    entropy = -np.where(CODES > 0, np.log(share), np.log(1 - share))[known]
    found = multi_label(labels=LABELS).with_metrics(
        each=jnp.asarray(logits, jnp.float32), targets=TARGETS, present=present
    )
    np.testing.assert_allclose(found.value, entropy.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.metrics["accuracy"], ((logits > 0) == (CODES > 0))[known].mean(), rtol=1e-6)


def test_a_detached_term_adds_nothing_to_the_loss_and_trains_its_layer_alone() -> None:
    attached, probe = (multi_label(labels=LABELS, detached=detached) for detached in (False, True))
    layers = attached.init(nnx.Rngs(0), FEATURES)
    graph, params = nnx.split(layers)

    def loss(term, params, features):
        return term.with_metrics(features, layers=nnx.merge(graph, params), targets=TARGETS).value

    values = [jax.value_and_grad(loss, argnums=(1, 2))(term, params, FEATURES) for term in (attached, probe)]
    (value, (of_layer, of_features)), (none, (same, nothing)) = values
    assert float(value) > 0.1
    assert float(none) == 0
    jax.tree.map(np.testing.assert_array_equal, same, of_layer)
    assert float(jnp.abs(of_features).max()) > 0
    assert float(jnp.abs(nothing).max()) == 0


def test_dropout_is_of_training_and_keeps_the_mean() -> None:
    term = multi_label(labels=("edema",), dropout=0.2)
    layers = term.init(nnx.Rngs(0), FEATURES)
    layers["image"].kernel[...], layers["image"].bias[...] = jnp.full((8, 1), 0.125), jnp.zeros(1)
    ones = Features(pooled=jnp.ones((4000, 8)))
    rows = {"ids": jnp.arange(4000, dtype=jnp.uint32), "features": (ones,), "layers": layers}
    keys = jax.random.split(jax.random.key(0), 4000)
    assert term.each is not None
    drawn, plain = (np.asarray(term.each(Each(**rows, keys=keys, train=train)))[:, 0] for train in (True, False))
    np.testing.assert_allclose(plain, 1, rtol=1e-6)
    np.testing.assert_allclose(np.unique(np.round(drawn * 6.4)), np.arange(2, 9))  # of eight, two or more are left
    assert drawn.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ()}, "labels must name different labels, at least one"),
        ({"labels": ("edema", "edema")}, "labels must name different labels"),
        ({"labels": ("view",)}, "'view' is no label of two classes; those of the store are edema"),
        ({"labels": ("edema",), "between": ()}, "between is empty"),
        ({"labels": ("edema",), "dropout": 1.0}, "dropout must be at least 0 and less than 1"),
    ],
)
def test_what_cannot_be_is_named(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        multi_label(counts={"edema": 2, "view": 3}, **options)
