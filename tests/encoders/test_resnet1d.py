"""The 1D-ResNet-CBAM: how a row becomes a sequence, what attention computes, and tables of any width."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS
from mmcl_jax.encoders.resnet1d.cbam import CBAM, maximum
from mmcl_jax.encoders.resnet1d.sequence import ColumnEmbedding, OneChannel, column_order
from mmcl_jax.errors import UserError
from mmcl_jax.explain.embedded import Layout

WIDTHS = (1, 4, 1, 2, 3, 1)
MISSING = ("refuse", "token", "indicator")
ROWS = ("embedding", "one_channel")
SMALL: dict[str, Any] = {"channels": 4, "depths": (1, 1), "reduction": 2}


def made(**options: Any) -> nnx.Module:
    given = {"widths": WIDTHS, "missing": "token", "rngs": nnx.Rngs(0), "dtype": jnp.dtype("float32"), **options}
    spec = {key: given.pop(key) for key in list(given) if key in ENCODERS.options("resnet1d_cbam")}
    return ENCODERS.build(ENCODERS.spec("resnet1d_cbam", **{**SMALL, **spec}), "config.encoders.table", **given)


def sequence_of(row: str, missing: str, order: int | None) -> ColumnEmbedding | OneChannel:
    """The part before the first convolution, with learned numbers that are drawn."""
    options = {"missing": missing, "order": order, "dtype": jnp.float32}
    if row == "embedding":
        part: ColumnEmbedding | OneChannel = ColumnEmbedding(WIDTHS, SMALL["channels"], rngs=nnx.Rngs(0), **options)
    else:
        part = OneChannel(WIDTHS, **options)
    for _, variable in nnx.iter_graph(part):
        if isinstance(variable, nnx.Param):
            shape = variable[...].shape
            variable.set_value(jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32))
    return part


def rows_of(missing: str) -> np.ndarray:
    """Rows with unknown categories; and where the policy takes it, missing cells and a row of nothing else."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=5) if w == 1 else rng.integers(-1, w, 5) for w in WIDTHS], axis=1)
    if missing != "refuse":
        rows[rng.random(rows.shape) < 0.3] = np.nan
        rows[0] = np.nan
    return rows.astype(np.float32)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("row", ROWS)
def test_the_order_moves_whole_columns_and_nothing_else(row: str, missing: str) -> None:
    stored, shuffled = (sequence_of(row, missing, order) for order in (None, 3))
    rows = jnp.asarray(rows_of(missing))
    embedded = stored.embed(rows)
    np.testing.assert_array_equal(embedded, shuffled.embed(rows))  # what explanations see keeps the store's order
    before, after = np.asarray(stored.sequence(embedded)), np.asarray(shuffled.sequence(embedded))
    columns = np.arange(len(WIDTHS)) if stored.columns is None else np.sort(stored.columns)
    expected = [before[:, columns == column] for column in column_order(len(WIDTHS), 3)]
    np.testing.assert_array_equal(after, np.concatenate(expected, axis=1))
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("row", ROWS)
def test_a_cell_changes_what_is_embedded_of_its_column(row: str, missing: str) -> None:
    part, rows = sequence_of(row, missing, None), rows_of("refuse")
    columns = np.arange(len(WIDTHS)) if part.columns is None else np.array(part.columns)
    before = np.asarray(part.embed(jnp.asarray(rows)))
    for column, width in enumerate(WIDTHS):
        for value in (0.25, 7.5, *([np.nan] if missing != "refuse" else [])) if width == 1 else (-1, 0, width - 1):
            other = rows.copy()
            other[:, column] = value
            moved = (np.asarray(part.embed(jnp.asarray(other))) != before).reshape(len(rows), len(columns), -1)
            assert moved.any()
            assert not moved[:, columns != column].any()


@pytest.mark.parametrize("row", ROWS)
def test_explanations_know_the_column_of_every_float(row: str) -> None:
    encoder = made(row=row, missing="indicator")
    embedded = encoder.embed(jnp.asarray(rows_of("indicator")))
    columns = Layout.of(embedded).columns(encoder, len(WIDTHS), "table")
    expected = np.repeat(np.arange(len(WIDTHS)), SMALL["channels"]) if row == "embedding" else encoder.input.columns
    np.testing.assert_array_equal(columns, expected)


@pytest.mark.parametrize("missing", ["token", "indicator"])
def test_missing_unknown_and_known_cells_have_vectors_of_their_own(missing: str) -> None:
    part = sequence_of("embedding", missing, None)
    vectors, start = np.asarray(part.vectors[...]), 0
    for column, width in enumerate(WIDTHS):
        cells = np.array([np.nan, *((2.0, -1.0) if width == 1 else (-1, *range(width)))], np.float32)
        rows = np.zeros((len(cells), len(WIDTHS)), np.float32)
        rows[:, column] = cells
        found = np.asarray(part.embed(jnp.asarray(rows)))[:, column]
        own = vectors[start : start + width + 1]
        expected = [own[width], *((2 * own[0], -own[0]) if width == 1 else (0 * own[0], *own[:width]))]
        np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)
        start += width + 1
    assert start == len(vectors)


def test_attention_by_hand() -> None:
    rng = np.random.default_rng(0)
    block = CBAM(6, reduction=2, kernel=7, rngs=nnx.Rngs(0), dtype=jnp.float32)
    x = rng.normal(size=(3, 5, 6)).astype(np.float32)
    first, second, kernel = block.channels.hidden, block.channels.out, np.asarray(block.positions.conv.kernel[...])

    def perceptron(values: np.ndarray) -> np.ndarray:
        hidden = np.maximum(values @ np.asarray(first.kernel[...]) + np.asarray(first.bias[...]), 0)
        return hidden @ np.asarray(second.kernel[...]) + np.asarray(second.bias[...])

    y = x / (1 + np.exp(-(perceptron(x.mean(1)) + perceptron(x.max(1)))))[:, None]
    pooled = np.pad(np.stack([y.mean(2), y.max(2)], axis=2), ((0, 0), (3, 3), (0, 0)))
    weight = np.stack([(pooled[:, i : i + 7] * kernel[..., 0]).sum((1, 2)) for i in range(5)], axis=1)
    np.testing.assert_allclose(block(jnp.asarray(x)), y / (1 + np.exp(-weight))[..., None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("channels", "hidden"), [(1, 1), (15, 1), (16, 1), (40, 2), (64, 4)])
def test_the_reduction_keeps_a_channel(channels: int, hidden: int) -> None:
    block = CBAM(channels, reduction=16, kernel=7, rngs=nnx.Rngs(0), dtype=jnp.float32)
    assert block.channels.hidden.kernel[...].shape == (channels, hidden)


@pytest.mark.parametrize("axis", [1, 2])
def test_the_gradient_of_the_maximum_goes_to_one_element(axis: int) -> None:
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 5, 6)), jnp.float32)  # with ties
    np.testing.assert_array_equal(maximum(x, axis), x.max(axis=axis))
    gradient = np.asarray(jax.grad(lambda x: maximum(x, axis).sum())(x))
    assert set(np.unique(gradient)) == {0, 1}
    np.testing.assert_array_equal(gradient.argmax(axis=axis), x.argmax(axis=axis))
    assert (gradient.sum(axis=axis) == 1).all()


def gradients(encoder: nnx.Module, rows: np.ndarray) -> tuple[np.ndarray, Any]:
    graph, params, rest = nnx.split(encoder, nnx.Param, ...)

    @jax.jit
    def run(params: nnx.State, rows: jax.Array) -> Any:
        def loss(params: nnx.State) -> Any:
            pooled = nnx.merge(graph, params, rest, copy=True)(rows, train=True).pooled
            return jnp.square(pooled - 1).sum(), pooled

        return jax.grad(loss, has_aux=True)(params)

    found, pooled = run(params, jnp.asarray(rows))
    return np.asarray(pooled), jax.tree.leaves(nnx.to_pure_dict(found))


@pytest.mark.parametrize(("row", "columns"), [("embedding", 1), ("one_channel", 1), ("embedding", 5000)])
def test_one_column_and_five_thousand(row: str, columns: int) -> None:
    """A step forward and back; with a category in every tenth column, and a row in which every cell is missing."""
    widths = tuple(3 if column % 10 == 1 else 1 for column in range(columns))
    rows = np.random.default_rng(0).normal(size=(3, columns)).astype(np.float32)
    rows[:, np.array(widths) > 1] = [[0], [1], [-1]]
    rows[2] = np.nan
    pooled, found = gradients(made(row=row, widths=widths), rows)
    assert pooled.shape == (3, 8)
    assert np.isfinite(pooled).all()
    assert all(np.isfinite(leaf).all() for leaf in found)
    assert any(leaf.any() for leaf in found)


def test_computing_activations_again_changes_nothing() -> None:
    rows, kept = rows_of("token"), []
    for remat in ("none", "blocks"):
        encoder = made(remat=remat)
        kept.append(gradients(encoder, rows))
        graph, state = nnx.split(encoder)
        text = str(jax.make_jaxpr(lambda state, graph=graph: nnx.merge(graph, state)(rows, train=False).pooled)(state))
        assert ("checkpoint" in text or "remat" in text) == (remat == "blocks")
    (pooled, found), (again, others) = kept
    np.testing.assert_allclose(pooled, again, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kernel": 4}, "kernel must be odd and positive, not 4"),
        ({"kernel": 0}, "kernel must be odd and positive, not 0"),
        ({"spatial_kernel": 2}, "spatial_kernel must be odd and positive, not 2"),
        ({"channels": 0}, "channels and reduction must be positive, not 0 and 2"),
        ({"reduction": 0}, "channels and reduction must be positive, not 4 and 0"),
        ({"depths": ()}, r"depths must be a tuple of positive numbers, not \(\)"),
        ({"depths": (2, 0)}, r"depths must be a tuple of positive numbers, not \(2, 0\)"),
        ({"row": "tokens"}, "row: 'tokens' is not of type"),
        ({"order": 0.5}, "order: 0.5 is not of type"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^config.encoders.table.*{sentence}"):
        made(**options)


@pytest.mark.foreign
@pytest.mark.parametrize("order", [None, 3])
@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("row", ROWS)
def test_the_sequence_in_pytorch(row: str, missing: str, order: int | None) -> None:
    torch = pytest.importorskip("torch")
    from mmcl_jax.encoders.torch_names import to_torch
    from mmcl_jax.export.modeling_torch import sequences

    part = sequence_of(row, missing, order)
    options = {"channels": SMALL["channels"], "order": order}
    kind = sequences.ColumnEmbedding if row == "embedding" else sequences.OneChannel
    theirs = kind({"widths": list(WIDTHS), "missing": missing, "options": options})
    arrays = to_torch(nnx.to_pure_dict(nnx.state(part, nnx.Param)), {})
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    rows = rows_of(missing)
    expected = np.asarray(part.sequence(part.embed(jnp.asarray(rows)))).transpose(0, 2, 1)
    with torch.no_grad():
        np.testing.assert_allclose(theirs(torch.from_numpy(rows)).numpy(), expected, rtol=1e-6, atol=1e-6)
