"""The view mask: which cells it masks, what it writes into them, and that both depend on the id of a row alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.training.mesh import make_mesh
from mmcl_jax.views import apply_views, mask

pytestmark = pytest.mark.core

ROWS, COLUMNS = 600, 9
MISSING = np.random.default_rng(1).random((ROWS, COLUMNS)) < np.linspace(0, 0.8, COLUMNS)
MISSING[0], MISSING[1] = True, False  # a row without any value, and a complete one
# The population's values tell the column they came from: 100 f + 1 (one row in four) or 100 f + 2; a row in four lacks
# every other column, and no row has the last column.
POPULATION = 100.0 * np.arange(COLUMNS)[None] + np.array([1.0, 2.0, 2.0, 2.0, np.nan])[:, None]
POPULATION[4, ::2] = 100.0 * np.arange(COLUMNS)[::2] + 2
POPULATION[1:, -1], POPULATION[0, -1] = np.nan, np.nan
TABLE = np.where(MISSING, np.nan, -1.0 - np.arange(COLUMNS)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), ROWS)
CASES = [(count, fill) for count in ("exact", "bernoulli") for fill in ("token", "marginal")]


def masked(table: np.ndarray, count: str, fill: str, rate: float) -> tuple[np.ndarray, np.ndarray]:
    fitted = {"population": POPULATION[:, : table.shape[1]].astype(np.float32)} if fill == "marginal" else {}
    seen = mask(rate=rate, count=count, fill=fill)(table, KEYS[: len(table)], **fitted)
    return np.asarray(seen.values), np.asarray(seen.changed)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("count", "fill"), CASES)
def test_observed_cells_are_masked_at_the_rate_and_all_others_stay(count: str, fill: str, rate: float) -> None:
    values, changed = masked(TABLE, count, fill, rate)
    maskable = ~MISSING
    if fill == "marginal":
        maskable = maskable & (np.arange(COLUMNS) < COLUMNS - 1)  # no row has a value of the last column to draw
    assert not changed[~maskable].any()
    np.testing.assert_array_equal(values[~changed], TABLE[~changed])
    share = changed.sum(axis=0) / maskable.sum(axis=0).clip(1)
    if count == "exact":
        np.testing.assert_array_equal(changed.sum(axis=1), [round(rate * n) for n in maskable.sum(axis=1)])
    if rate in (0.0, 1.0):
        np.testing.assert_array_equal(changed, maskable & (rate == 1.0))
    else:  # within four standard errors of the column with the fewest values; `round` moves exact counts by little
        assert np.abs(share[:-1] - rate).max() < 4 * 0.5 / np.sqrt(maskable[:, -2].sum()) + 0.03 * (count == "exact")
    if fill == "token":
        assert np.isnan(values[changed]).all()
    else:
        column, value = np.divmod(values, 100)
        np.testing.assert_array_equal(column[changed], np.broadcast_to(np.arange(COLUMNS), changed.shape)[changed])
        assert set(np.unique(value[changed])) <= {1.0, 2.0}  # and never NaN


def test_draws_have_the_frequencies_of_the_observed_values() -> None:
    """An odd column has four values, of which one is 1; an even column has five."""
    values, changed = masked(np.zeros((ROWS, COLUMNS), np.float32), "exact", "marginal", 1.0)
    assert changed[:, :-1].all()
    ones = (values[:, :-1] % 100 == 1).mean(axis=0)
    assert np.abs(ones - np.where(np.arange(COLUMNS - 1) % 2, 1 / 4, 1 / 5)).max() < 4 * 0.5 / np.sqrt(ROWS)
    same_row = (values[:, :-1] % 100 == values[:, :1] % 100).all(axis=1)
    assert same_row.mean() < 0.6  # each cell has a donor of its own


@pytest.mark.parametrize(("count", "expected"), [("exact", 4 * 3 / (9 * 8)), ("bernoulli", 0.5 * 0.5)])
def test_columns_are_masked_in_pairs_as_often_as_their_draw_says(count: str, expected: float) -> None:
    """Without replacement, k of F columns make k (k - 1) of the F (F - 1) pairs; coins are independent."""
    changed = masked(np.zeros((ROWS, COLUMNS), np.float32), count, "token", 0.5)[1].astype(float)  # round(4.5) is 4
    together = changed.T @ changed / ROWS
    assert np.abs(together[~np.eye(COLUMNS, dtype=bool)] - expected).max() < 5 * 0.5 / np.sqrt(ROWS)
    between_rows = (changed[:-1] * changed[1:]).mean()
    assert abs(between_rows - changed.mean() ** 2) < 4 * 0.5 / np.sqrt(changed.size)


@pytest.mark.parametrize(("count", "fill"), CASES)
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_table_of_one_column(count: str, fill: str, value: float) -> None:
    values, changed = masked(np.full((4, 1), value, np.float32), count, fill, 1.0)
    assert changed.all() == (not np.isnan(value))
    assert changed.any() == changed.all()
    assert np.isnan(values).all() == (np.isnan(value) or fill == "token")


@pytest.mark.parametrize(("count", "fill"), [("exact", "marginal"), ("bernoulli", "token")])
def test_a_row_s_mask_depends_on_its_id_alone(count: str, fill: str) -> None:
    """Not on the other rows of the batch, their order, or the devices; another step draws another mask."""
    views = {"hidden": mask(rate=0.5, count=count, fill=fill)}
    fitted = {"table": {"population": jnp.asarray(POPULATION, jnp.float32)}}
    mesh = make_mesh(jax.devices()[:8], model=1)

    def view(batch, step):
        return apply_views(views, batch, seed=jnp.uint32(7), step=step, fitted=fitted)["hidden"]

    compiled = jax.jit(view)
    batch = {"id": jnp.arange(64, dtype=jnp.uint32), "table": jnp.asarray(TABLE[:64])}
    expected = compiled(batch, jnp.int32(3))
    order = np.random.default_rng(0).permutation(64)
    shuffled = compiled({name: rows[order] for name, rows in batch.items()}, jnp.int32(3))
    spread = compiled(jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data"))), jnp.int32(3))
    alone = view({name: rows[5:8] for name, rows in batch.items()}, jnp.int32(3))
    np.testing.assert_array_equal(shuffled.changed, np.asarray(expected.changed)[order])
    np.testing.assert_array_equal(shuffled.values, np.asarray(expected.values)[order])
    np.testing.assert_array_equal(spread.values, expected.values)
    assert (np.asarray(compiled(batch, jnp.int32(4)).changed) != expected.changed).any()
    np.testing.assert_array_equal(alone.changed, np.asarray(expected.changed)[5:8])


def test_the_plain_view_is_the_row_and_validation_passes_mask() -> None:
    view, batch = mask(rate=1.0), {"id": jnp.arange(3, dtype=jnp.uint32), "table": jnp.asarray(TABLE[1:4])}
    draws = {"seed": jnp.uint32(0), "step": jnp.int32(0), "fitted": {}}
    plain = apply_views({"hidden": view}, batch, **draws, plain=True)["hidden"]
    np.testing.assert_array_equal(plain.values, TABLE[1:4])
    assert plain.changed is None
    validated = apply_views({"hidden": view}, batch, **draws, validation=True)["hidden"]
    np.testing.assert_array_equal(validated.changed, ~MISSING[1:4])


def test_an_exact_share_of_too_few_columns_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"masks round\(0.4 \* 1\) = 0 columns of every row; raise rate, or set count="
    ):
        mask(rate=0.4)(jnp.zeros((2, 1)), jax.random.key(0))
    assert mask(rate=0.4, count="bernoulli")(jnp.zeros((40, 1)), jax.random.key(0)).changed.any()


def test_an_absent_row_is_zeros_and_has_no_masked_cell() -> None:
    batch = {
        "id": jnp.arange(2, dtype=jnp.uint32),
        "table": jnp.array([[1.0, 2.0], [jnp.nan, jnp.nan]]),
        "present/table": jnp.array([True, False]),
    }
    seen = apply_views({"t": mask(rate=1.0)}, batch, seed=jnp.uint32(0), step=jnp.int32(0), fitted={})["t"]
    assert seen.changed.tolist() == [[True, True], [False, False]]
    assert seen.values[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": 1.2}, r"rate must lie in \[0, 1\], not 1.2"),
        ({"population": 0, "fill": "marginal"}, "population must be positive"),
        ({"population": 9}, "population: fill='token' draws no values; leave it at None, or set fill='marginal'"),
    ],
)
def test_options_are_checked(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mask(**options)
