"""The moments of vectors: exact for any block size, in little memory, and finite for constant features."""

import tracemalloc

import numpy as np
import pytest

from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.kinds.vector import Moments
from mmcl_jax.data.schema import Entry, Schema

pytestmark = pytest.mark.core


def fit(values: np.ndarray) -> Moments:
    entry = Entry(kind="vector", shape=values.shape[1:], dtype=values.dtype.name)
    rows = MappedRows(values, np.arange(len(values)), fill=KINDS["vector"].fill(values.dtype))
    return KINDS["vector"].fit(rows, "genes", Schema({"genes": entry}), ())


@pytest.mark.parametrize("block", [1, 100, 2**20])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_moments_do_not_depend_on_blocks(dtype: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(300, 12)) * 20 + rng.normal(size=12) * 5).astype(dtype)
    missing = rng.random(values.shape) < 0.3
    missing[:, 3] = True
    missing[:40, 4] = True  # the first blocks have no value of this feature
    values[missing] = KINDS["vector"].fill(values.dtype)
    expected = np.ma.masked_array(values.astype(np.float64), missing)
    monkeypatch.setattr("mmcl_jax.data.kinds.vector._BLOCK_BYTES", block)
    actual = fit(values)
    np.testing.assert_allclose(actual.mean, expected.mean(axis=0).filled(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(actual.std, expected.std(axis=0).filled(1), rtol=1e-12)


@pytest.mark.parametrize("block", [100, 2**20])
def test_a_constant_has_the_deviation_one(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding must not give a constant a tiny deviation, which would make the z-score of a later value huge."""
    constant = np.array([0.1, -7e8, 1e-20, 0.0, 1.0])
    values = np.tile(constant.astype(np.float32), (3000, 1))
    values[5, 4] = np.nextafter(np.float32(1), np.float32(2))  # the least that float32 can differ is no constant
    monkeypatch.setattr("mmcl_jax.data.kinds.vector._BLOCK_BYTES", block)
    actual = fit(values)
    np.testing.assert_allclose(actual.mean, values[0].astype(np.float64), rtol=1e-9)
    np.testing.assert_array_equal(actual.std[:4], 1)
    np.testing.assert_allclose(actual.std[4], np.std(values[:, 4].astype(np.float64)), rtol=1e-3)


def test_memory_does_not_grow_with_the_rows() -> None:
    values = np.random.default_rng(0).integers(0, 3, (4000, 2000), np.int8)
    tracemalloc.start()
    try:
        fit(values)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20  # the rows as float64 are 61 MiB
    finally:
        tracemalloc.stop()
