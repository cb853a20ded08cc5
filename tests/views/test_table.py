"""SCARF corruption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.views import VIEWS

pytestmark = pytest.mark.core

ROWS = jnp.zeros((300, 10))
# The population's values tell the column they came from: column f holds 100 f + 1 (one row in four) or 100 f + 2.
POPULATION = 100.0 * jnp.arange(10.0)[None, :] + jnp.array([1.0, 2.0, 2.0, 2.0])[:, None]
KEYS = jax.random.split(jax.random.key(0), 300)


def corrupted(rate: float) -> np.ndarray:
    seen = VIEWS.build(VIEWS.spec("scarf", rate=rate), "").apply(ROWS, KEYS, {"population": POPULATION})
    np.testing.assert_array_equal(seen.changed, seen.values != 0)  # the population has no 0, and the rows nothing else
    return np.asarray(seen.values)


@pytest.mark.parametrize(("rate", "columns"), [(0.3, 3), (0.39, 3), (0.0, 0), (1.0, 10)])
def test_exactly_the_rate_of_columns_is_overwritten(rate: float, columns: int) -> None:
    np.testing.assert_array_equal((corrupted(rate) != 0).sum(axis=1), columns)


def test_every_column_is_hit_alike_by_draws_from_its_own_marginal() -> None:
    seen = corrupted(0.3)
    hit = seen != 0
    assert (np.abs(hit.mean(axis=0) - 0.3) < 0.1).all()
    column, value = np.divmod(seen, 100)
    np.testing.assert_array_equal(column[hit], np.broadcast_to(np.arange(10), hit.shape)[hit])
    assert abs((value[hit] == 1).mean() - 0.25) < 0.05  # with multiplicity


def test_columns_are_drawn_from_different_rows() -> None:
    values = corrupted(1.0) % 100
    assert (values == values[:, :1]).all(axis=1).mean() < 0.2
