"""BERT: vectors of sentences and texts, masks, dropout, frozen parameters, and sizes that are refused.

`test_bert_parity.py` compares it with other programs, and with real weights.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import ENCODERS, Features, Model
from mmcl_jax.encoders.torch_names import leaves_of
from mmcl_jax.encoders.transformers.bert import Bert, bert
from mmcl_jax.encoders.transformers.dropout import dropout
from mmcl_jax.encoders.transformers.sentences import greatest
from mmcl_jax.errors import UserError
from mmcl_jax.training.state.groups import frozen_patterns
from mmcl_jax.training.state.train_state import initial_state, split_model

SIZES = {"vocabulary": 20, "width": 8, "heads": 2, "hidden": 12, "layers": 2, "positions": 12, "sentences": 3}
CLS, SEP, END = (2, -1), (3, -1), (-1, -1)
TEXTS = np.array(
    [
        [CLS, (5, 0), (6, 0), (7, 1), (8, 2), (9, 2), SEP, END],
        [CLS, (9, 1), (5, 1), (6, 4), SEP, END, END, END],  # the first sentence is absent, and one is beyond the slots
        [END] * 8,
        [CLS, SEP, *[END] * 6],
    ],
    np.int32,
)


@functools.cache
def made(**options: Any) -> Bert:
    return bert(**{**SIZES, "frozen_layers": 1, "dropout": 0.5, **options}, rngs=nnx.Rngs(0))


@functools.cache
def _compiled(train: bool) -> Any:
    graph = nnx.graphdef(made())
    return jax.jit(lambda arrays, view, keys: nnx.merge(graph, arrays)(view, train=train, keys=keys))


def run(view: np.ndarray, keys: jax.Array | None = None, train: bool = False) -> Features:
    return _compiled(train)(nnx.state(made()), jnp.asarray(view), keys)


def by_hand(params: dict, tokens: np.ndarray, heads: int) -> np.ndarray:
    """The last hidden states [T, D] of one text, in float64, as the paper and its released code have them."""

    def norm(x: np.ndarray, of: dict) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + 1e-12) * of["scale"] + of["bias"]

    def layer(x: np.ndarray, of: dict) -> np.ndarray:
        return x @ of["kernel"] + of["bias"]

    erf = np.vectorize(math.erf)
    x = norm(params["tokens"][tokens] + params["positions"][: len(tokens)] + params["types"][0], params["norm"])
    for _, block in sorted(params["blocks"].items()):
        query, key, value = (layer(x, block[name]) for name in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        size = x.shape[1] // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            mixed[:, part] = scores / scores.sum(axis=1, keepdims=True) @ value[:, part]
        x = norm(x + layer(mixed, block["mixed"]), block["norm1"])
        hidden = layer(x, block["hidden"])
        x = norm(x + layer(hidden * (1 + erf(hidden / math.sqrt(2))) / 2, block["out"]), block["norm2"])
    return x


def test_the_last_layer_is_that_of_the_formulas() -> None:
    graph, state = nnx.split(made(sentences=8))
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: leaf + 0.5 * rng.normal(size=leaf.shape).astype(np.float32), state)
    text = TEXTS[:1, :7].copy()
    text[0, :, 1] = np.arange(7)  # each token a sentence of its own
    found = nnx.merge(graph, drawn)(jnp.asarray(text), train=False).local[0, :7]
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(drawn))
    np.testing.assert_allclose(found, by_hand(params, text[0, :, 0], heads=2), rtol=1e-4, atol=2e-5)


@pytest.mark.core
def test_the_vector_of_a_sentence_is_the_maximum_over_its_tokens() -> None:
    """Without special tokens; that of a text is the maximum over all sentences, also over those beyond the slots."""
    every = np.array(TEXTS)
    mask = every[..., 0] >= 0
    every[..., 1] = np.where(mask, np.arange(8), -1)  # each token a sentence of its own: the tokens of the last layer
    encoder = made(sentences=8)
    tokens = np.asarray(encoder(jnp.asarray(every), train=False).local)
    found = run(TEXTS)
    for row, text in enumerate(TEXTS):
        for sentence in range(3):
            of = text[:, 1] == sentence
            expected = tokens[row][of].max(axis=0) if of.any() else np.zeros(8)
            np.testing.assert_allclose(found.local[row, sentence], expected, rtol=1e-5, atol=1e-6)
            assert found.mask[row, sentence] == of.any()
        of = text[:, 1] >= 0
        expected = tokens[row][of].max(axis=0) if of.any() else np.zeros(8)
        np.testing.assert_allclose(found.pooled[row], expected, rtol=1e-5, atol=1e-6)


def test_a_phrase_is_a_report_of_one_sentence() -> None:
    phrase = np.full((1, 8, 2), -1, np.int32)
    phrase[0, :4] = [CLS, (5, 0), (6, 0), SEP]
    found = run(phrase)
    np.testing.assert_array_equal(found.local[:, 0], found.pooled)
    assert found.mask.tolist() == [[True, False, False]]


def test_what_lies_behind_the_end_changes_nothing() -> None:
    """Neither the length of the view, nor another row."""
    longer = np.concatenate([TEXTS, np.full((4, 3, 2), -1, np.int32)], axis=1)
    found, other = run(TEXTS), run(longer)
    for name in ("pooled", "local"):
        np.testing.assert_allclose(getattr(found, name), getattr(other, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.mask, other.mask)
    np.testing.assert_array_equal(run(TEXTS[[3, 0, 0, 2]]).local[1], found.local[0])


def test_a_token_beyond_the_vocabulary_is_not_a_number() -> None:
    """A step with it is reported; the token is never taken for another."""
    beyond = np.array(TEXTS)
    beyond[0, 1, 0] = 20
    assert np.isnan(run(beyond).pooled).any(axis=1).tolist() == [True, False, False, False]


def test_dropout_is_of_a_row_alone_and_of_training_alone() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    rows = TEXTS[[0, 1, 0, 1]]
    found = run(rows, keys, train=True).pooled
    assert not np.allclose(found[0], found[2])  # another key
    order = np.array([2, 3, 1, 0])
    np.testing.assert_array_equal(run(rows[order], keys[order], train=True).pooled, found[order])
    plain = run(rows).pooled
    np.testing.assert_array_equal(run(rows, keys).pooled, plain)
    np.testing.assert_allclose(run(rows, train=True).pooled, plain, rtol=1e-6)


def test_frozen_layers_drop_too() -> None:
    encoder = made(frozen_layers=2)
    keys = jax.random.split(jax.random.key(0), 2)
    found = encoder(jnp.asarray(TEXTS[[0, 0]]), train=True, keys=keys).pooled
    assert not np.allclose(found[0], found[1])


def test_every_layer_drops_anew() -> None:
    drop, ones = dropout(0.5, jax.random.split(jax.random.key(0), 2)), jnp.ones((2, 40))
    assert not np.array_equal(drop(ones), drop(ones))


def test_it_computes_in_its_dtype() -> None:
    made = nnx.eval_shape(lambda: bert(**SIZES, frozen_layers=0, rngs=nnx.Rngs(0), dtype=jnp.bfloat16))

    def encoded(encoder: Bert) -> tuple[jax.Array, jax.Array | None]:
        found = encoder(jnp.asarray(TEXTS), train=False)
        return found.pooled, found.local

    assert {array.dtype for array in nnx.eval_shape(encoded, made)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for _, leaf in leaves_of(split_model(made)[0])} == {jnp.dtype("float32")}


def test_gradients_are_finite_and_go_to_tokens_that_are_there() -> None:
    graph, params = nnx.split(made())

    @jax.jit
    @jax.grad
    def gradient(params: nnx.State) -> jax.Array:
        found = nnx.merge(graph, params)(jnp.asarray(TEXTS), train=True)
        return jnp.square(found.pooled).sum() + jnp.square(found.local).sum()

    found = nnx.to_pure_dict(gradient(params))
    assert all(np.isfinite(leaf).all() for _, leaf in leaves_of(found))
    there = np.unique(TEXTS[:2, :, 0])
    assert set(np.flatnonzero(np.abs(found["tokens"]).sum(axis=1))) == set(there[there >= 0])
    assert not found["positions"][7:].any()


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equal_tokens() -> None:
    vectors = jnp.array([[[1.0], [2.0], [2.0], [5.0]]])
    within = jnp.array([[[True, True, True, False], [False] * 4]])
    found = jax.grad(lambda x: greatest(x, within).sum())(vectors)
    assert found.ravel().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("layers", "trained"),
    [(None, {"tokens", "positions", "types", "norm", "blocks.0", "blocks.1"}), (0, {"blocks.0", "blocks.1"}),
     (1, {"blocks.1"}), (2, set())],
)  # fmt: skip
def test_frozen_parameters_have_no_moments(layers: int | None, trained: set[str]) -> None:
    """Beside those of `config.frozen`."""
    import optax

    other = made(frozen_layers=None, dropout=0.25)
    model = Model({"report": made(frozen_layers=layers), "other": other}, {}, {}, {}, {})
    patterns = frozen_patterns(("encoders.other.blocks",), model)
    state = initial_state(model, optax.adam(1e-3), frozen=patterns)
    for params in (state.params, state.optimizer_state[0].mu):
        names = {".".join(path) for path, _ in leaves_of(params["encoders"].get("report", {}))}
        assert {".".join(name.split(".")[: 1 + name.startswith("blocks")]) for name in names} == trained
        assert "blocks" not in params["encoders"]["other"]
    whole = {path for path, _ in leaves_of(split_model(model)[0])}
    assert {path for path, _ in leaves_of(*state.weights()[:1])} == whole


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 10, "heads": 3}, "heads must divide width, and 3 heads do not divide 10"),
        ({"layers": 0}, "layers must be positive, not 0"),
        ({"sentences": 0}, "sentences must be positive, not 0"),
        ({"vocabulary": 0}, "vocabulary must be positive, not 0"),
        ({"vocabulary": None, "widths": ()}, "no store gives the size of the vocabulary; set the option vocabulary"),
        ({"frozen_layers": 3}, "frozen_layers must be None or from 0 to the number of layers, 2, not 3"),
        ({"frozen_layers": -1}, "frozen_layers must be None or from 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1, not 1.0"),
        ({"dropout": float("nan")}, "dropout must be at least 0"),
        ({"shape": (13, 2)}, "views have up to 13 tokens, and there are 12 positions; set positions to 13, or the"),
    ],
)
def test_sizes_that_do_not_fit_are_named(options: dict[str, Any], sentence: str) -> None:
    given = {**SIZES, "frozen_layers": None, **options}
    arguments = {key: given.pop(key) for key in ("shape", "widths") if key in given}
    spec: ConfigDict = ENCODERS.spec("bert", **given)
    with pytest.raises(UserError) as error:
        ENCODERS.build(spec, "config.encoders.report", **arguments, rngs=nnx.Rngs(0), dtype=jnp.float32)
    assert str(error.value).startswith(f"config.encoders.report: {sentence}")


def test_the_default_is_bert_base() -> None:
    encoder = nnx.eval_shape(lambda: bert(vocabulary=28996, rngs=nnx.Rngs(0)))
    count = sum(leaf.size for _, leaf in leaves_of(split_model(encoder)[0]))
    assert count == 107_719_680  # of Bio_ClinicalBERT: 108,310,272 with the pooler of 768 x 768 + 768
