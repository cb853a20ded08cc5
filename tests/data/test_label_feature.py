"""The label as a feature: one more column, encoded, corrupted and trained on like the others."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.table.label_feature import is_copy
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import raw_rows
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run


def test_the_label_is_the_last_column(raw: Request, tiny_config, tmp_path: Path) -> None:
    cells = pl.read_csv(raw.table)
    some = pl.when(pl.int_range(40) % 9 == 0).then(None).otherwise(pl.col("model"))
    cells.with_columns(model=some).write_csv(raw.table)
    store = prepare(raw, tmp_path / "store")
    config = tiny_config(
        "digits_mmcl",
        f"data={store.directory}",
        "inputs.table.label_as_feature=True",
        "inputs.table.missing=token",
        "batch_size=8",
    )
    inputs = fit_inputs(config, store)
    assert inputs.schema.columns[:-1] == store.schema.columns
    assert inputs.schema.columns[-1].name == "model (label)"
    assert inputs.schema.widths[-1] == 4
    for split in store.sizes:
        rows, arrays = input_arrays(store, split, inputs, ["table"])["table"], store.arrays(split)
        expected = np.where(arrays["label"] < 0, np.nan, arrays["label"])
        np.testing.assert_array_equal(rows[:, -1], expected)
    pretrain(config, tmp_path / "run", log=lambda line: None)
    run = Run.open(tmp_path / "run")
    assert run.schema == inputs.schema
    assert run.model().encoders["table"].input.size == 1 + 1 + 3 + 5  # a category more for what is missing
    values, unknown = raw_rows(cells, run.schema, run.declaration, "ads.csv")
    assert values.shape == (40, 4)
    assert np.isnan(values[:, -1]).all()
    assert unknown == [0, 0, 0, 0]


def test_there_has_to_be_a_label(raw: Request, tiny_config, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, label=(), ignore=("model",)), tmp_path / "store")
    config = tiny_config("digits_mmcl", f"data={store.directory}", "inputs.table.label_as_feature=True", "batch_size=8")
    with pytest.raises(
        UserError, match=r"config.inputs.table.label_as_feature: the store .* has no label that is a class"
    ):
        pretrain(config, tmp_path / "run")


@pytest.mark.core
def test_copies_of_labels() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 3000).astype(float)
    label[::50] = np.nan
    codes = np.array([7.0, 1.0, 9.0, 3.0])[np.nan_to_num(label).astype(int)]
    assert is_copy(label, label, ordered=False)
    assert is_copy(codes, label, ordered=False)
    assert is_copy(np.where(rng.random(3000) < 0.1, np.nan, codes), label, ordered=False)
    late = codes.copy()
    late[-1] = 1.0 if late[-1] != 1.0 else 3.0  # one row differs
    for other in (
        late,
        np.minimum(codes, 7),
        codes + rng.integers(0, 2, 3000) / 2,
        np.arange(3000.0),
        np.full(3000, 2.0),
    ):
        assert not is_copy(other, label, ordered=False)
    assert not is_copy(np.where(np.arange(3000) < 2000, np.nan, codes), label, ordered=False)
    price = rng.normal(size=300)
    assert is_copy(-3 * price + 1, price, ordered=True)
    assert not is_copy(rng.permutation(price), price, ordered=True)
    assert not is_copy(np.array([1.0, 1, 1, 2]), np.array([0.0, 0, 0, 1]), ordered=False)
