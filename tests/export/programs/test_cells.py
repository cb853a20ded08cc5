"""Raw cells inside a program are encoded as the run encodes them, whatever the policies and however large."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from mmcl_jax.data.schema import Column, Schema
from mmcl_jax.data.table.encoding import MISSING_POLICIES, OUTSIDE_POLICIES, Encoding
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError
from mmcl_jax.export.programs.cells import encoded_cells
from tests.export.programs.test_onnx import in_onnxruntime, translated
from tests.export.test_torch_inputs import COLUMNS, raw_rows

CASES = [
    *((missing, "keep") for missing in MISSING_POLICIES),
    *(("iterative", outside) for outside in OUTSIDE_POLICIES[1:]),
]
# A day near 2040, a number near 1e9 whose values differ by 1, and a time in seconds: float32 holds none but the first.
LARGE = (Column(name="day", kind="date"), *(Column(name=name, kind="continuous") for name in ("serial", "seconds")))


def one_by_one(encoding: Encoding, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows as NumPy encodes them, and which it refuses."""
    rows, refused = np.full(cells.shape, np.nan, np.float32), np.zeros(len(cells), bool)
    for index in range(len(cells)):
        try:
            (rows[index],) = encoding.encode(cells[index : index + 1])
        except UserError:
            refused[index] = True
    return rows, refused


@pytest.fixture(scope="module")
def table() -> tuple[Schema, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    train, new = raw_rows(rng, 200), raw_rows(rng, 60, spread=2.5)
    new[:4, 3] = (0, 3, -1, 4)  # the ends of a column with many equal values, and beyond
    new[5], new[6, 0], new[7, 1] = train[5], 1e300, -1.0  # what cannot be encoded, and what has no logarithm
    return Schema(columns=COLUMNS), train, new


class Policies(NamedTuple):
    """The encoding by every policy, of rows of which some lack a value in every column."""

    encodings: dict[str, Encoding]
    cells: np.ndarray

    def __call__(self, rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        outputs = {}
        for name, encoding in self.encodings.items():
            outputs[name], outputs[f"{name} refused"] = encoded_cells(encoding, rows["cells"])
        return outputs

    def check(self, outputs: dict[str, Any]) -> None:
        for name, encoding in self.encodings.items():
            expected, refused = one_by_one(encoding, self.cells)
            rows = np.asarray(outputs[name])
            assert rows.dtype == np.float32
            np.testing.assert_array_equal(outputs[f"{name} refused"], refused, err_msg=name)
            assert not refused.all()
            np.testing.assert_allclose(rows[~refused], expected[~refused], rtol=2e-6, atol=2e-6, err_msg=name)


@pytest.fixture(scope="module")
def policies(table: tuple[Schema, np.ndarray, np.ndarray]) -> Policies:
    schema, train, new = table
    complete = new.copy()
    complete[:, 4] = 0.0  # the column that no training row has
    statistics = Statistics.fit(train, schema)
    encodings = {
        f"{missing}, {outside}": Encoding.fit(train, schema, statistics, missing=missing, outside=outside)
        for missing, outside in CASES
    }
    return Policies(encodings, np.concatenate([new, complete]))


def test_every_policy(policies: Policies) -> None:
    with jax.enable_x64(True):
        policies.check(jax.jit(policies.__call__)({"cells": policies.cells}))


@pytest.mark.foreign
def test_every_policy_in_onnx(policies: Policies) -> None:
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    rows = {"cells": policies.cells}
    model = translated(policies, rows, wide=True)
    policies.check(in_onnxruntime(ort, model, rows))
    assert len(in_onnxruntime(ort, model, {"cells": policies.cells[:0]})["iterative, keep"]) == 0


@pytest.mark.parametrize("code", [-1.0, 2.0, 4.0, 1e9, 0.5])
def test_codes_of_no_category_are_missing(code: float) -> None:
    schema = Schema(columns=(Column(name="colour", kind="categorical", categories=("a", "b", "never")),))
    train = np.array([[0.0], [1.0], [1.0]])
    encoding = Encoding.fit(train, schema, Statistics.fit(train, schema), missing="mean")
    with jax.enable_x64(True):
        rows, refused = encoded_cells(encoding, jax.numpy.asarray([[0.0], [code]]))
    assert rows.tolist() == [[0.0], [1.0]]  # the most frequent
    assert not refused.any()


def test_dates_and_large_numbers_keep_their_differences() -> None:
    """In float32, numbers near 1e9 lie 64 apart: a column of them would be noise."""
    rng, schema = np.random.default_rng(0), Schema(columns=LARGE)
    train = np.column_stack(
        [rng.integers(25_000, 26_000, 50), 1e9 + rng.integers(0, 40, 50), 1.8e9 + rng.uniform(0, 60, 50)]
    ).astype(float)
    encoding = Encoding.fit(train, schema, Statistics.fit(train, schema), missing="refuse")
    with jax.enable_x64(True):
        rows, _ = jax.jit(lambda cells: encoded_cells(encoding, cells))(train)
    np.testing.assert_allclose(rows, encoding.encode(train), rtol=1e-6, atol=1e-6)
    rounded = encoding.encode(train.astype(np.float32).astype(float))
    assert np.abs(rounded - encoding.encode(train)).max(axis=0)[1:].min() > 0.1  # what float32 cells would have done
