"""The table transformer: missing cells, unknown categories, embeddings of numbers, and PyTorch's modules."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import Encoder, table_transformer
from mmcl_jax.encoders.torch_names import Arrays, to_torch
from mmcl_jax.encoders.transformers import table_transformer as module
from mmcl_jax.explain.embedded import Layout
from mmcl_jax.training.state.train_state import split_model
from tests.export.untrained import drawn

pytestmark = pytest.mark.core
WIDTHS = (1, 3, 1, 2)
SIZES: dict[str, Any] = {"width": 8, "heads": 2, "blocks": 2}
EDGES = ((-1.0, 0.0, 0.5, 2.0), (), (0.25,), ())  # the second number has one value
NUMBERS: dict[str, dict[str, Any]] = {
    "linear": {},
    "piecewise": {"numbers": "piecewise", "bins": 4, "bin_edges": EDGES},
    "periodic": {"numbers": "periodic", "frequencies": 3, "frequency_scale": 1.0},
}
NAN = np.nan
# A complete row; a missing number; a missing category; an unknown category; a row of which every cell is missing.
ROWS = np.array(
    [[0.3, 2, -1, 0], [NAN, 2, -1, 0], [0.3, NAN, -1, 0], [0.3, -1, -1, 0], [NAN, NAN, NAN, NAN]], np.float32
)


def made(numbers: str = "linear", widths: tuple[int, ...] = WIDTHS, **options: Any) -> Encoder:
    """An encoder with parameters that all have an effect."""
    options = {**SIZES, **NUMBERS[numbers], **options}
    encoder = nnx.eval_shape(lambda: table_transformer(widths=widths, rngs=nnx.Rngs(0), **options))
    params = drawn(split_model(encoder)[0], np.random.default_rng(0))
    return nnx.merge(nnx.graphdef(encoder), jax.tree.map(jnp.asarray, params))


@functools.cache
def program(numbers: str) -> Callable[..., Any]:
    """The compiled encoder: features, and gradients by cells and parameters of the sum of squares of all features."""
    graph, state = nnx.split(made(numbers))

    @jax.jit
    def run(rows: jax.Array) -> Any:
        def loss(vectors: jax.Array, state: nnx.State) -> Any:
            encoder = nnx.merge(graph, state)
            cells = encoder.embed(rows)._replace(vectors=vectors)
            features = encoder.body(cells, train=True)
            return jnp.square(features.local + 1).sum(), features

        def whole(state: nnx.State) -> jax.Array:
            return jnp.square(nnx.merge(graph, state)(rows, train=True).local + 1).sum()

        vectors = nnx.merge(graph, state).embed(rows).vectors
        gradient, features = jax.grad(loss, has_aux=True)(vectors, state)
        return features, gradient, jax.grad(whole)(state)

    return run


@pytest.mark.parametrize("numbers", NUMBERS)
def test_every_row_is_finite_and_has_gradients(numbers: str) -> None:
    features, by_cell, by_parameter = program(numbers)(ROWS)
    by_cell = np.asarray(by_cell)
    assert features.local.shape == (5, 5, 8)
    np.testing.assert_array_equal(features.pooled, features.local[:, 0])
    for array in (features.local, by_cell, *jax.tree.leaves(by_parameter)):
        assert np.isfinite(array).all()
    assert (np.abs(by_cell).max(axis=2) > 0).all()  # of each column, missing ones by their own token
    small = [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(by_parameter) if not leaf.any()]
    assert small == []


def test_a_missing_cell_changes_no_other_token() -> None:
    """The row's tokens are those of an encoder without that column."""
    local = np.asarray(program("linear")(ROWS)[0].local)
    assert not np.allclose(local[1, 0], local[0, 0], atol=1e-3)
    params = split_model(made())[0]
    same = {**params, "columns": params["columns"][np.array([0, 2, 3, 4])]}
    short = nnx.merge(nnx.graphdef(made(widths=WIDTHS[1:])), same)
    alone = jax.jit(lambda rows: short(rows, train=False).local)(ROWS[1:2, 1:])
    np.testing.assert_allclose(local[1, [0, 2, 3, 4]], alone[0], rtol=1e-4, atol=1e-5)


def test_an_unknown_category_is_neither_missing_nor_known_and_is_trained() -> None:
    _, _, by_parameter = program("linear")(ROWS)
    unknown = np.abs(np.asarray(by_parameter["unknown"][...])).max(axis=1)
    assert (unknown > 0).tolist() == [True, False] or (unknown > 0).all()
    encoder, rows = made(unknown=0.5), jnp.asarray(np.tile(ROWS[:1], (400, 1)))
    keys = jax.random.split(jax.random.key(0), len(rows))
    cells = encoder.embed(rows)
    replaced = encoder._with_unknown(*cells, keys) != cells.vectors
    share = np.asarray(replaced.any(axis=2)).mean(axis=0)
    assert (share[[0, 2]] == 0).all()
    np.testing.assert_allclose(share[[1, 3]], 0.5, atol=0.1)
    at = int(np.flatnonzero(np.asarray(replaced[:, 1, 0]))[0])
    vectors = encoder._with_unknown(*cells, keys)
    np.testing.assert_array_equal(vectors[at, 1], encoder.embed(jnp.asarray(ROWS[3:4])).vectors[0, 1])
    alone = encoder._with_unknown(*encoder.embed(rows[:3]), keys[:3])
    np.testing.assert_array_equal(alone, vectors[:3])  # a row's draw depends on its key alone


@pytest.mark.parametrize(("numbers", "x", "expected"), [
    ("piecewise", -2.0, [-1, 0, 0, 0]), ("piecewise", 0.25, [1, 0.5, 0, 0]), ("piecewise", 5.0, [1, 1, 3, 0]),
])  # fmt: skip
def test_the_piecewise_encoding(numbers: str, x: float, expected: list[float]) -> None:
    """Of three bins in four components; the first and the last bin have no outer limit."""
    layer = made(numbers).numbers
    layer.layer = lambda encoding: encoding
    encoding = layer(jnp.array([[x, x]]))
    np.testing.assert_allclose(encoding[0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(encoding[0, 1], 0)


def test_attributions_have_a_column() -> None:
    encoder = made()
    columns = Layout.of(jax.eval_shape(encoder.embed, ROWS)).columns(encoder, len(WIDTHS), "table")
    np.testing.assert_array_equal(columns, np.repeat(np.arange(len(WIDTHS)), SIZES["width"]))


@pytest.mark.parametrize("widths", [(1,), (4,), (1,) * 6])
def test_one_column_and_one_kind(widths: tuple[int, ...]) -> None:
    encoder = made(widths=widths, dtype=jnp.bfloat16)
    rows = jnp.asarray(np.stack([np.zeros(len(widths)), np.full(len(widths), NAN)]), jnp.float32)
    local = nnx.eval_shape(lambda encoder: encoder(rows, train=True).local, encoder)
    assert (local.shape, local.dtype) == ((2, 1 + len(widths), 8), jnp.bfloat16)


def test_many_rows_pass_the_blocks_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made()
    whole = np.asarray(program("linear")(ROWS)[0].local)
    monkeypatch.setattr(module, "_INFERENCE_BYTES", 2 * encoder.row_bytes(train=False))
    sliced = jax.jit(lambda rows: encoder(rows, train=False).local)(ROWS)
    np.testing.assert_allclose(sliced, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 9}, "heads must divide width, not 9, 2"),
        ({"blocks": 0}, "must be positive"),
        ({"unknown": 1.0}, r"unknown must lie in \[0, 1\)"),
        ({"rare": 2}, "rare needs the policy missing=\"token\" of the input, not 'refuse'"),
        ({"numbers": "piecewise"}, "needs bin_edges, which are fitted on training rows"),
        ({"numbers": "piecewise", "bins": 2, "bin_edges": EDGES}, "more edges than those of 2 bins"),
    ],
)
def test_options_are_checked(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        table_transformer(widths=WIDTHS, rngs=nnx.Rngs(0), **{**SIZES, **options})


@pytest.mark.foreign
@pytest.mark.parametrize("numbers", NUMBERS)
def test_features_and_gradients_are_those_of_pytorch(numbers: str) -> None:
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch.table_transformer import TableTransformer

    defaults = {"numbers": "linear", "bins": 4, "frequencies": 3}
    options = {**SIZES, **defaults, **NUMBERS[numbers]}
    theirs = TableTransformer({"widths": WIDTHS, "options": options, "bin_edges": EDGES}, 1e-5)
    params: Arrays = split_model(made(numbers))[0]
    theirs.load_state_dict({name: torch.tensor(array) for name, array in to_torch(params, {}).items()})
    expected = theirs(torch.tensor(ROWS))
    (expected.local + 1).square().sum().backward()
    features, _, by_parameter = program(numbers)(ROWS)
    np.testing.assert_allclose(features.local, expected.local.detach(), rtol=1e-4, atol=1e-5)
    gradients = to_torch(nnx.to_pure_dict(by_parameter), {})
    for name, parameter in theirs.named_parameters():
        scale = float(parameter.grad.abs().max())
        np.testing.assert_allclose(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4 * scale, err_msg=name)
