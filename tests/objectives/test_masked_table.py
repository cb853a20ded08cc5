"""The term masked_table against float64, cell by cell; its gradients; and what it refuses."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders import Features
from mmcl_jax.objectives import Term, masked_table
from mmcl_jax.views import Viewed, mask

pytestmark = pytest.mark.core

WIDTHS, CHANNELS, BATCH = (1, 3, 1, 2, 4), 6, 12
RNG = np.random.default_rng(0)
CELLS = np.stack([RNG.normal(size=BATCH) if w == 1 else RNG.integers(0, w, BATCH) for w in WIDTHS], axis=1)
ROWS = np.where(RNG.random(CELLS.shape) < 0.2, np.nan, CELLS).astype(np.float32)
ROWS[0] = np.nan  # a row with every cell missing
CHANGED = np.isfinite(ROWS) & (RNG.random(ROWS.shape) < 0.5)
VIEW = Viewed(jnp.asarray(np.where(CHANGED, np.nan, ROWS)), changed=jnp.asarray(CHANGED))
TOKENS = RNG.normal(size=(BATCH, 1 + len(WIDTHS), CHANNELS)).astype(np.float32)
PRESENT = np.arange(BATCH) != 5

HEADS: list[dict[str, Any]] = [
    {"head": "tokens", "categories": "cross_entropy", "over": "all"},
    {"head": "tokens", "categories": "cross_entropy", "over": "own"},
    {"head": "tokens", "categories": "l1", "over": "own"},
    {"head": "pooled", "categories": "cross_entropy", "over": "own", "hidden": 5},
    {"head": "pooled", "categories": "l1", "over": "own"},
]


def made(**options: Any) -> tuple[Term, Mapping[str, nnx.Module], np.ndarray]:
    """Return a term, its layers, and features for it."""
    term = masked_table(widths=WIDTHS, **options)
    features = TOKENS if term.layers.keys() & {"classifier", "regressor"} else TOKENS[:, 0]
    return term, term.init(nnx.Rngs(1), features), features


def dense(layer: nnx.Linear, x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...], np.float64)


def in_float64(
    layers: Mapping[str, Any],
    *,
    numbers: str,
    categories: str,
    over: str,
    entries: str,
    head: str,
    average: str,
    **_: Any,
) -> dict[str, float]:
    """Return the loss and its metrics, computed cell by cell."""
    starts = np.cumsum([0, *WIDTHS])
    wide = [column for column, width in enumerate(WIDTHS) if width > 1]
    offsets = dict(zip(wide, np.cumsum([0, *(WIDTHS[column] for column in wide)]), strict=False))
    losses: dict[str, list[float]] = {"numbers": [], "categories": []}
    sizes: dict[str, list[int]] = {"numbers": [], "categories": []}
    hits = []
    for row, column in itertools.product(range(BATCH), range(len(WIDTHS))):
        target, width = ROWS[row, column], WIDTHS[column]
        if np.isnan(target) or not PRESENT[row]:
            continue
        if head == "pooled":
            hidden = np.maximum(dense(layers["decoder"].hidden, TOKENS[row, 0].astype(np.float64)), 0)
            output = own = dense(layers["decoder"].out, hidden)[starts[column] : starts[column] + width]
        else:
            token = TOKENS[row, 1 + column].astype(np.float64)
            output = dense(layers["regressor" if width == 1 else "classifier"], token)
            own = output[offsets[column] : offsets[column] + width] if width > 1 else output
        counted = bool(CHANGED[row, column]) or entries == "all"
        if width == 1:
            error = abs(own[0] - np.float64(target))
            losses["numbers"] += [error if numbers == "l1" else error**2] * counted
            sizes["numbers"] += [1] * counted
            continue
        code = int(target)
        compared, place = (output, offsets[column] + code) if over == "all" else (own, code)
        hits += [np.argmax(compared) == place] * bool(CHANGED[row, column])
        if categories == "l1":
            losses["categories"] += [np.abs(own - np.eye(width)[code]).sum()] * counted
        else:
            losses["categories"] += [np.log(np.exp(compared).sum()) - compared[place]] * counted
        sizes["categories"] += [width if categories == "l1" else 1] * counted
    means = {kind: sum(losses[kind]) / sum(sizes[kind]) for kind in losses}
    every = sum(map(sum, losses.values())) / sum(map(sum, sizes.values()))
    loss = float(np.mean(list(means.values()))) if average == "parts" else every
    return {**means, "accuracy": float(np.mean(hits)), "loss": loss}


@pytest.mark.parametrize("average", ["parts", "entries"])
@pytest.mark.parametrize("entries", ["masked", "all"])
@pytest.mark.parametrize("numbers", ["l1", "l2"])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())))
def test_the_loss_is_the_formula_cell_by_cell(head: dict, numbers: str, entries: str, average: str) -> None:
    options = {**head, "numbers": numbers, "entries": entries, "average": average}
    term, layers, features = made(**options)
    garbage = np.where(PRESENT.reshape(-1, *[1] * (features.ndim - 1)), features, np.nan).astype(np.float32)
    found = term.with_metrics(garbage, layers=layers, views=VIEW, inputs=jnp.asarray(ROWS), present=PRESENT)
    expected = in_float64(layers, **options)
    np.testing.assert_allclose(found.value, expected.pop("loss"), rtol=1e-5)
    assert found.metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found.metrics[name], value, rtol=1e-5, err_msg=name)
    counted = CHANGED if entries == "masked" else np.isfinite(ROWS)
    assert int(found.rows) == (counted & PRESENT[:, None]).any(axis=1).sum()


def test_a_batch_by_hand() -> None:
    """Layers of zeros: an error is the number itself, and every category is as likely as the others."""
    rows = jnp.array([[2.0, 1.0], [-1.0, 0.0], [7.0, 2.0]])
    view = Viewed(rows, changed=jnp.array([[True, True], [True, False], [False, False]]))
    expected = {
        ("tokens", "cross_entropy", "own", "parts"): ((4 + 1) / 2 + np.log(3)) / 2,
        ("tokens", "cross_entropy", "own", "entries"): (4 + 1 + np.log(3)) / 3,
        ("tokens", "l1", "own", "entries"): (4 + 1 + 1) / (2 + 3),
        ("pooled", "l1", "own", "parts"): ((4 + 1) / 2 + 1 / 3) / 2,
    }
    for (head, categories, over, average), loss in expected.items():
        term = masked_table(widths=(1, 3), head=head, categories=categories, over=over, average=average)
        features = jnp.zeros((3, 3, 2)) if head == "tokens" else jnp.zeros((3, 2))
        layers = term.init(nnx.Rngs(0), features)
        for layer in layers.values():
            nnx.update(layer, jax.tree.map(jnp.zeros_like, nnx.state(layer)))
        assert float(term(features, layers=layers, views=view, inputs=rows)) == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("entries", ["masked", "all"])
@pytest.mark.parametrize("over", ["own", "all"])
def test_only_counted_cells_have_a_gradient(over: str, entries: str) -> None:
    """By the tokens, which belong to one cell each; it is 0 exactly, also where a row is absent and holds NaN."""
    term, layers, tokens = made(head="tokens", over=over, entries=entries)
    tokens = np.where(PRESENT[:, None, None], tokens, np.nan).astype(np.float32)

    def loss(tokens: jax.Array) -> jax.Array:
        return term(tokens, layers=layers, views=VIEW, inputs=jnp.asarray(ROWS), present=PRESENT)

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(tokens)))
    counted = (CHANGED if entries == "masked" else np.isfinite(ROWS)) & PRESENT[:, None]
    np.testing.assert_array_equal((gradient[:, 1:] != 0).any(axis=2), counted)
    assert (gradient[:, 0] == 0).all()


@pytest.mark.parametrize("categories", ["cross_entropy", "l1"])
def test_only_counted_entries_of_the_decoder_have_a_gradient(categories: str) -> None:
    """With a mask in one column alone, the outputs of all others get none."""
    term, layers, features = made(head="pooled", categories=categories, over="own")
    starts, rows = np.cumsum([0, *WIDTHS]), jnp.asarray(ROWS)

    @nnx.jit
    @nnx.grad
    def gradient(decoder: nnx.Module, changed: jax.Array) -> jax.Array:
        view = Viewed(rows, changed=changed)
        return term(jnp.asarray(features), layers={"decoder": decoder}, views=view, inputs=rows)

    for column, width in enumerate(WIDTHS):
        changed = CHANGED & (np.arange(len(WIDTHS)) == column)
        bias = np.asarray(gradient(layers["decoder"], jnp.asarray(changed))["out"]["bias"][...])
        own = (np.arange(sum(WIDTHS)) >= starts[column]) & (np.arange(sum(WIDTHS)) < starts[column] + width)
        assert (bias[own] != 0).any()
        assert (bias[~own] == 0).all()


@pytest.mark.parametrize("widths", [(1,), (2, 5)])
@pytest.mark.parametrize("head", [HEADS[0], HEADS[-1]], ids=["tokens", "pooled"])
def test_tables_of_one_kind_of_column_and_batches_without_a_cell(head: dict, widths: tuple[int, ...]) -> None:
    term, rows = masked_table(widths=widths, **head), jnp.zeros((3, len(widths)))
    features = jnp.ones((3, 1 + len(widths), 4)) if head["head"] == "tokens" else jnp.ones((3, 4))
    layers = term.init(nnx.Rngs(0), features)
    found = term.with_metrics(features, layers=layers, views=mask(rate=1.0)(rows, jax.random.key(0)), inputs=rows)
    assert float(found.value) > 0
    kinds = [kind for kind, is_wide in (("numbers", False), ("categories", True)) if is_wide in [w > 1 for w in widths]]
    assert set(found.metrics) == {*kinds, *(["accuracy"] if "categories" in kinds else [])}
    empty = jnp.full(rows.shape, jnp.nan)  # every cell of every row is missing
    view = mask(rate=1.0)(empty, jax.random.key(0))
    value, gradient = jax.value_and_grad(lambda x: term(x, layers=layers, views=view, inputs=empty))(features)
    assert float(value) == 0
    assert (np.asarray(gradient) == 0).all()


def test_features_of_another_view_reconstruct_the_row() -> None:
    """Of a fusion, for example: the first text gives the features, the last one the row and its mask."""
    term, layers, features = made(head="pooled", categories="l1", over="own")
    two = masked_table(
        widths=WIDTHS, head="pooled", categories="l1", over="own", between=("fused:none", "table_masked")
    )
    rows, other = jnp.asarray(ROWS), jnp.zeros((BATCH, 2))
    expected = term(features, layers=layers, views=VIEW, inputs=rows)
    found = two(features, other, layers=layers, views=(VIEW, VIEW), inputs=(rows, rows))
    assert float(found) == float(expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widths": ()}, "between must end with a view of a table, and 'table_masked' is none"),
        ({"between": ("a", "b", "c")}, "between must name the masked view, or features and the masked view, not 3"),
        ({"head": "pooled"}, "set over='own', as head is 'pooled'"),
        ({"categories": "l1"}, "set over='own', as head is 'tokens' and categories is 'l1'"),
        ({"hidden": 8}, "hidden is a positive width of the head 'pooled', not 8 of 'tokens'; set hidden=None"),
        ({"head": "pooled", "over": "own", "hidden": 0}, "hidden is a positive width"),
        ({"weight": -1.0}, "weight must not be negative"),
    ],
)
def test_options_that_contradict_each_other(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        masked_table(**{"widths": WIDTHS, **options})


def test_what_the_term_lacks_is_said() -> None:
    term, layers, tokens = made()
    rows = jnp.asarray(ROWS)
    with pytest.raises(ArrayError, match=r"give them as inputs= and views="):
        term(tokens, layers=layers)
    with pytest.raises(
        ArrayError, match=r"which cells 'table_masked' masked; give it the result of a view such as mask"
    ):
        term(tokens, layers=layers, views=VIEW.values, inputs=rows)
    with pytest.raises(ValueError, match=r"'tokens' needs local features, and the encoder has none; choose an encoder"):
        term.init(nnx.Rngs(0), tokens[:, 0])
    of_a_map = Features(pooled=jnp.asarray(tokens[:, 0]), local=jnp.asarray(tokens), grid=(2, 3))
    for local in (tokens[:, 1:], of_a_map):
        with pytest.raises(
            ArrayError, match=r"needs a class token and 5 tokens, one per column, and the encoder gives"
        ):
            term(local, layers=layers, views=VIEW, inputs=rows)
