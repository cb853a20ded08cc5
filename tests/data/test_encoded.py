"""Tables that are encoded when they are indexed: bits and messages equal those of encoding at once."""

import numpy as np
import pytest

from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.schema import LABEL_TAG, Column, Schema
from mmcl_jax.data.table.encoded import EncodedRows, encoded_rows
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError

pytestmark = pytest.mark.core

ROWS = 200
COLUMNS = (
    Column(name="weight", kind="continuous"),  # stored, but not selected
    Column(name="age", kind="continuous"),
    Column(name="price", kind="continuous", scaling="log"),
    Column(name="mileage", kind="continuous", scaling="quantile"),
    Column(name="fuel", kind="categorical", categories=("petrol", "diesel", "none")),
    Column(name="size", kind="ordinal", categories=("S", "M", "L")),
)
LABEL = Column(name="model (label)", kind="categorical", categories=("a", "b"), tags=(LABEL_TAG,))
STORED, WANTED = Schema(columns=COLUMNS), Schema(columns=(*COLUMNS[1:], LABEL))
LAZY = "mmcl_jax.data.table.encoded.EAGER_BYTES"


def drawn(missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Return a raw table and the codes of the label."""
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.normal(size=(ROWS, 4)) * 2)
    table = np.column_stack([numbers, rng.integers(0, 2, ROWS), rng.integers(0, 3, ROWS)])
    table[rng.random(table.shape) < missing] = np.nan
    return table, rng.integers(-1, 2, ROWS)


def encoding_of(table: np.ndarray, label: np.ndarray, **policies: str) -> Encoding:
    raw = np.column_stack([table[:150, 1:], np.where(label < 0, np.nan, label)[:150]])
    return Encoding.fit(raw, WANTED, Statistics.fit(raw, WANTED), **policies)


@pytest.mark.parametrize("some", [False, True], ids=["of every row", "of some"])
@pytest.mark.parametrize("outside", ["keep", "clip", "missing"])
@pytest.mark.parametrize("missing", ["mean", "iterative", "token", "indicator"])
def test_rows_have_the_same_bits(missing: str, outside: str, some: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table, label = drawn()
    at = np.arange(ROWS)
    at[::7] = -1 if some else at[::7]
    rows = MappedRows(table, at, fill=np.nan, optional=some)
    encoding = encoding_of(table, label, missing=missing, outside=outside)
    eager = encoded_rows(rows, STORED, encoding, label)
    monkeypatch.setattr(LAZY, 0)
    lazy = encoded_rows(rows, STORED, encoding, label)
    assert isinstance(eager, np.ndarray)
    assert isinstance(lazy, EncodedRows)
    assert (lazy.shape, lazy.dtype, len(lazy)) == (eager.shape, eager.dtype, len(eager))
    assert np.isnan(eager[::7]).all() == some
    for chosen in (np.random.default_rng(1).integers(0, ROWS, 33), np.array([5]), slice(3, 50), slice(None)):
        np.testing.assert_array_equal(lazy[chosen], eager[chosen])
    np.testing.assert_array_equal(np.asarray(lazy), eager)


@pytest.mark.parametrize(
    ("missing", "row", "column", "value"),
    [("refuse", 3, 4, np.nan), ("refuse", 180, 2, np.nan), ("mean", 199, 2, -4.0), ("token", 7, 1, 1e300)],
)
def test_what_cannot_be_encoded_is_refused_before_the_first_batch(
    missing: str, row: int, column: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, label = drawn(missing=0)
    label = np.maximum(label, 0)
    encoding = encoding_of(table, label, missing=missing)
    table[[row, row - 1], column] = value
    rows, said = MappedRows(table, np.arange(ROWS), fill=np.nan), []
    for most in (2**28, 0):
        monkeypatch.setattr(LAZY, most)
        monkeypatch.setattr("mmcl_jax.data.table.encoded._BLOCK_BYTES", 400)  # ten rows
        with pytest.raises(UserError) as error:
            encoded_rows(rows, STORED, encoding, label)
        said.append(str(error.value))
    assert said[0] == said[1]
