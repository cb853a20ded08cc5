"""Encoding of raw rows: it is fitted on the training split, and does not depend on the other rows of a batch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer as Reference

from mmcl_jax import progress
from mmcl_jax.data.schema import Column, ImageSpec, Schema
from mmcl_jax.data.table.encoding import Encoding
from mmcl_jax.data.table.imputation import IterativeImputer
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.encoders.table_input import TableInput
from mmcl_jax.errors import UserError

RNG = np.random.default_rng(0)
COLUMNS = (
    Column(name="length", kind="continuous"),
    Column(name="width", kind="continuous"),
    Column(name="grade", kind="ordinal", categories=("low", "mid", "high")),
    Column(name="colour", kind="categorical", categories=("red", "green", "blue", "grey")),
    Column(name="sold", kind="boolean", categories=("false", "true")),
    Column(name="day", kind="date"),
)
SCHEMA = Schema(columns=COLUMNS, image=ImageSpec(height=1, width=1, channels=1, fit=""))
WIDTHS = SCHEMA.widths


def raw(rows: int, missing: float = 0.2, seed: int = 0) -> np.ndarray:
    """Related columns; no row is grey, and length is never missing."""
    rng = np.random.default_rng(seed)
    length = rng.normal(100, 20, rows)
    table = np.stack(
        [
            length, 3 * length + rng.normal(0, 5, rows), np.clip((length - 70) // 20, 0, 2), rng.integers(0, 3, rows),
            length > 100, 18_000 + rng.integers(0, 900, rows),
        ], axis=1,
    ).astype(np.float64)  # fmt: skip
    absent = rng.random(table.shape) < missing
    absent[:, 0] = False
    return np.where(absent, np.nan, table)


TRAIN, LATER = raw(200), raw(50, seed=1)


def fitted(missing: str, train: np.ndarray = TRAIN, **options: str) -> Encoding:
    return Encoding.fit(train, SCHEMA, Statistics.fit(train, SCHEMA), missing=missing, **options)


@pytest.mark.core
def test_scores_are_of_the_training_rows_alone() -> None:
    encoded = fitted("token").encode(TRAIN)
    assert encoded.dtype == np.float32
    for index in (0, 1, 2, 5):  # numbers, and ordinal codes
        assert abs(np.nanmean(encoded[:, index])) < 1e-5
        assert abs(np.nanstd(encoded[:, index]) - 1) < 1e-5
        expected = (LATER[:, index] - np.nanmean(TRAIN[:, index])) / np.nanstd(TRAIN[:, index])
        np.testing.assert_allclose(fitted("token").encode(LATER)[:, index], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(encoded[:, 3:5], TRAIN[:, 3:5].astype(np.float32))
    np.testing.assert_array_equal(np.isnan(encoded), np.isnan(TRAIN))


def test_statistics_of_odd_columns() -> None:
    table = np.column_stack([np.full(30, 0.1), np.full(30, np.nan), *np.full((4, 30), np.nan)])
    statistics = Statistics.fit(table, SCHEMA)
    assert statistics.std[:2] == (1.0, 1.0)  # 0.1 thirty times has a standard deviation by rounding
    assert statistics.counts[2:5] == ((0, 0, 0), (0, 0, 0, 0), (0, 0))
    assert (statistics.fill[3], statistics.mean[1]) == (0.0, 0.0)
    assert statistics.unseen(np.array([[0, 0, 0, 0, 0, 0.0]]), SCHEMA).tolist() == [
        [False, False, True, True, True, False]
    ]
    table[0, 0] = 1e200
    with pytest.raises(UserError, match="Column 'length' has values up to 1e\\+200"):
        Statistics.fit(table, SCHEMA)


@pytest.mark.core
def test_refuse_and_mean() -> None:
    with pytest.raises(UserError, match=rf"'width' has {np.isnan(TRAIN[:, 1]).sum()} missing values"):
        fitted("refuse").encode(TRAIN)
    assert np.isfinite(fitted("refuse").encode(raw(20, missing=0))).all()
    encoding = fitted("mean")
    encoded = encoding.encode(LATER)
    for index in (1, 5):
        np.testing.assert_allclose(encoded[np.isnan(LATER[:, index]), index], 0, atol=1e-6)
    for index in (3, 4):
        codes, counts = np.unique(TRAIN[~np.isnan(TRAIN[:, index]), index], return_counts=True)
        assert set(encoded[np.isnan(LATER[:, index]), index]) == {codes[counts.argmax()]}


@pytest.mark.core
def test_imputation_is_that_of_scikit_learn() -> None:
    reference = Reference(max_iter=10, tol=1e-3, keep_empty_features=True)
    ours = IterativeImputer.fit(TRAIN)
    assert np.abs(ours.fill(TRAIN) - reference.fit_transform(TRAIN)).max() < 1e-10
    assert np.abs(ours.fill(LATER) - reference.transform(LATER)).max() < 1e-10
    present = ~np.isnan(LATER)
    np.testing.assert_array_equal(ours.fill(LATER)[present], LATER[present])
    later = LATER.copy()
    later[:, 0] = np.nan  # never missing in training
    assert np.abs(ours.fill(later) - reference.transform(later)).max() < 1e-10
    truth = raw(50, missing=0, seed=1)[:, 0]
    assert np.corrcoef(ours.fill(later)[~np.isnan(LATER[:, 1]), 0], truth[~np.isnan(LATER[:, 1])])[0, 1] > 0.9


def test_imputation_of_a_row_does_not_depend_on_others_to_the_bit() -> None:
    wide = RNG.normal(size=(300, 40))
    wide[RNG.random(wide.shape) < 0.3] = np.nan
    imputer = IterativeImputer.fit(wide, rounds=3)
    together = imputer.fill(wide)
    alone = np.concatenate([imputer.fill(wide[row : row + 1]) for row in range(len(wide))])
    assert together.tobytes() == alone.tobytes() == imputer.fill(np.asfortranarray(wide)).tobytes()
    assert imputer.fill(wide[::-3]).tobytes() == together[::-3].tobytes()


def test_imputation_where_there_is_nothing_to_fit() -> None:
    complete, empty = raw(30, missing=0), raw(30)
    empty[:, 1] = np.nan
    for train in (complete, empty, complete[:1], complete[:2]):
        filled = IterativeImputer.fit(train).fill(LATER)
        assert np.isfinite(filled).all()
    reference = Reference(max_iter=10, tol=1e-3, keep_empty_features=True).fit(complete)
    assert np.abs(IterativeImputer.fit(complete).fill(LATER) - reference.transform(LATER)).max() < 1e-10
    one = IterativeImputer.fit(complete[:, :1])  # with nothing to regress it on
    np.testing.assert_array_equal(one.fill(np.array([[np.nan], [2.0]])), [[complete[:, 0].mean()], [2]])
    with pytest.raises(UserError, match="1001 columns takes too much memory; the limit is 1000"):
        IterativeImputer.fit(np.zeros((2, 1001)))


@pytest.mark.core
def test_imputed_categories_are_valid_ones() -> None:
    encoding = fitted("iterative")
    encoded = encoding.encode(LATER)
    assert np.isfinite(encoded).all()
    statistics = encoding.statistics
    for index in (2, 3, 4):
        codes = encoded[:, index] * statistics.std[index] + statistics.mean[index]
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-5)
        assert set(np.rint(codes)) <= set(range(len(COLUMNS[index].categories)))
    present = ~np.isnan(LATER)
    np.testing.assert_array_equal(encoded[present], fitted("token").encode(LATER)[present])


def test_unseen_categories_and_numbers_outside() -> None:
    rows = np.array([[1e4, 0, 1, 3, 1, 0], [100.0, 300, 1, 0, 1, 18_100]])
    statistics = Statistics.fit(TRAIN, SCHEMA)
    assert statistics.unseen(rows, SCHEMA).tolist() == [[False] * 3 + [True] + [False] * 2, [False] * 6]
    assert statistics.outside(rows, SCHEMA).tolist() == [[True, True, False, False, False, True], [False] * 6]
    kept, clipped, lost = (fitted("token", outside=policy).encode(rows) for policy in ("keep", "clip", "missing"))
    for encoded in (kept, clipped, lost):  # grey is in no training row
        assert encoded[0, 3] == -1
        np.testing.assert_array_equal(encoded[1], kept[1])
    assert kept[0, 0] > 100
    extremes = fitted("token").encode(
        np.array([[np.nanmax(TRAIN[:, 0]), np.nanmin(TRAIN[:, 1]), 1, 0, 1, np.nanmin(TRAIN[:, 5])]])
    )
    np.testing.assert_array_equal(clipped[0, [0, 1, 5]], extremes[0, [0, 1, 5]])
    assert np.isnan(lost[0]).tolist() == [True, True, False, False, False, True]
    for policy in ("mean", "iterative", "indicator"):  # for these policies it is a missing value
        missing = fitted(policy).encode(np.where(rows == 3, np.nan, rows))  # of the code of grey
        np.testing.assert_array_equal(fitted(policy).encode(rows), missing)
    rows[0, 0] = 1e300
    with pytest.raises(UserError, match="'length' has the value 1e\\+300, too far"):
        fitted("token").encode(rows)


@pytest.mark.parametrize("missing", ["mean", "iterative", "token", "indicator"])
@pytest.mark.parametrize("outside", ["keep", "clip", "missing"])
def test_written_and_read_it_gives_the_same_bits_for_each_row(tmp_path: Path, missing: str, outside: str) -> None:
    encoding = fitted(missing, outside=outside)
    encoding.write(tmp_path)
    again = Encoding.read(tmp_path)
    assert (again.missing, again.outside, again.schema) == (missing, outside, SCHEMA)
    together = encoding.encode(LATER)
    assert again.encode(LATER).tobytes() == together.tobytes()
    alone = np.concatenate([again.encode(row[None]) for row in LATER])
    assert alone.tobytes() == together.tobytes()


@pytest.mark.core
@pytest.mark.parametrize("missing", ["token", "indicator"])
def test_table_input(missing: str) -> None:
    """Columns: 3 numbers and an ordinal of width 1, one of 4 categories, one of 2; the last two get one more each."""
    module = TableInput(WIDTHS, missing=missing)
    assert WIDTHS == (1, 1, 1, 4, 2, 1)
    assert module.size == 4 + 5 + 3 + (4 if missing == "indicator" else 0)
    rows = jnp.asarray(fitted(missing).encode(LATER))
    absent = np.isnan(np.asarray(rows))
    actual = np.asarray(module(rows))
    assert actual.shape == (50, module.size)
    assert np.isfinite(actual).all()
    numbers, starts = [0, 1, 2, 5], [0, 1, 2, 11]
    for column, start in zip(numbers, starts, strict=True):
        np.testing.assert_array_equal(actual[:, start], np.where(absent[:, column], 0, rows[:, column]))
    for column, start, width in ((3, 3, 5), (4, 8, 3)):
        hot = actual[:, start : start + width]
        np.testing.assert_array_equal(hot.sum(axis=1), 1)
        np.testing.assert_array_equal(
            hot.argmax(axis=1), np.where(absent[:, column], width - 1, np.nan_to_num(np.asarray(rows)[:, column]))
        )
    if missing == "indicator":
        np.testing.assert_array_equal(actual[:, 12:], absent[:, numbers])


def test_the_token_is_learned_only_where_values_are_missing() -> None:
    module = TableInput(WIDTHS, missing="token")
    rows = fitted("token").encode(LATER)

    def loss(module: TableInput, rows: jax.Array) -> jax.Array:
        return (module(rows) * jnp.arange(1.0, module.size + 1)[None]).sum()

    to_token, to_rows = nnx.grad(loss, argnums=(0, 1))(module, jnp.asarray(rows))
    counts = np.isnan(rows[:, [0, 1, 2, 5]]).sum(axis=0)
    np.testing.assert_allclose(np.asarray(jax.tree.leaves(to_token)[0]), counts * np.array([1.0, 2, 3, 12]))
    assert counts[0] == 0 < counts[1]
    assert np.isfinite(np.asarray(to_rows)).all()
    module.token[...] = jnp.array([1.0, 2, 3, 4])
    actual = np.asarray(module(jnp.asarray(rows)))
    assert set(actual[np.isnan(rows[:, 1]), 1]) == {2.0}
    assert set(actual[np.isnan(rows[:, 5]), 11]) == {4.0}


def test_plain_table_input_is_one_hot() -> None:
    module = TableInput(WIDTHS, missing="mean")
    rows = fitted("mean").encode(LATER)
    actual = np.asarray(module(jnp.asarray(rows)))
    assert actual.shape == (50, module.size) == (50, sum(WIDTHS))
    np.testing.assert_array_equal(actual[:, [0, 1, 2, 9]], rows[:, [0, 1, 2, 5]])
    np.testing.assert_array_equal(actual[:, 3:7].argmax(axis=1), rows[:, 3])


def test_long_imputation_is_foreseen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_MEASURED_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_LONG_SECONDS", -1.0)
    columns = TRAIN.shape[1]
    IterativeImputer.fit(TRAIN, input="scores")
    said = capsys.readouterr().err
    assert f"scores.missing: iterative imputation of {columns} columns in {len(TRAIN)} rows: about" in said
    assert f"of {10 * columns}; --config.inputs.scores.missing=mean takes seconds" in said
    assert said.count("\n") == 1


def test_hostile_columns_are_imputed() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 6))
    rows[::7] = np.nan
    rows[:, 2], rows[:, 3], rows[0, 4] = np.nan, 1.0, 1e150
    schema = Schema(columns=tuple(Column(name=f"c{index}", kind="continuous") for index in range(6)))
    encoding = Encoding.fit(rows, schema, Statistics.fit(rows, schema), missing="iterative")
    assert np.isfinite(encoding.encode(rows)).all()
