"""Columns of numbers that are parsed all at once: as one by one, and in time linear in the number of columns."""

import dataclasses
import time
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.prepare.table.numeric import parse_all
from mmcl_jax.prepare.table.parse import Parsed, parse

DECLARATIONS = [
    {},
    {"missing": ["", "-99", "7"]},
    {"decimal": ","},
    {"columns": {"c": {"kind": "continuous", "missing": ["NaN", "nan"]}}},
    {"columns": {"c": {"kind": "continuous", "missing": ["3"]}}},
    {"others": "ignore"},
]
CELLS = ["1", "0", "1.0", "-2.5", "1e3", "3", "-99", "+4", "007", ".5", "5.", "inf", "1e999", "NaN", "NA", "",
         "20200105", "9007199254740993", "2020-01-05", "1,5", "\u22123", "x", None]  # fmt: skip
NUMBERS = [
    np.arange(30), np.arange(30) * 1.0, np.arange(30) % 3, np.arange(30) % 2, np.linspace(0, 1, 30), np.full(30, 2.0),
    np.array([1, 2**60, 2**60 + 1] * 10), np.array([20200105, 20200106] * 15), np.array([0.1, np.inf, np.nan] * 10),
    np.full(30, np.nan), np.array([1e308, -1e308, 5e-324] * 10), np.array([0.1, 16777217.0] * 15),
]  # fmt: skip


def same(one: Parsed, other: Parsed) -> bool:
    def equal(left: Any, right: Any) -> bool:
        if isinstance(left, pl.Series):
            return left.dtype == right.dtype and left.equals(right, null_equal=True, check_names=True)
        return left == right

    return all(equal(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(Parsed))


@pytest.mark.parametrize("name", ["c", "eid"])
@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32, pl.Int64, pl.UInt16, pl.String, "integers"])
@pytest.mark.parametrize("number", range(len(NUMBERS)))
def test_a_column_is_as_by_itself(number: int, kind: Any, name: str) -> None:
    values = pl.Series(name, NUMBERS[number])
    cells = (
        values.cast(pl.Int64, strict=False).cast(pl.String) if kind == "integers" else values.cast(kind, strict=False)
    )
    (parsed,) = parse_all([cells], Declaration())
    assert same(parsed, parse(cells, Declaration()))


@given(st.lists(st.lists(st.sampled_from(CELLS), min_size=4, max_size=4), min_size=1, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_columns_of_any_cells_are_as_by_themselves(columns: list[list[str | None]], data: st.DataObject) -> None:
    declaration = Declaration.from_json(data.draw(st.sampled_from(DECLARATIONS)), "schema.json")
    cells = [pl.Series("c", texts, dtype=pl.String) for texts in columns]
    assert all(map(same, parse_all(cells, declaration), [parse(column, declaration) for column in cells]))


WORDS = ["red", "blue", "yes", "NO", "t", "", "NA", "inf", "nan", "\u2212", "free text of many words", None]


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=4, max_size=30), min_size=1, max_size=4), st.data())
@settings(max_examples=40, deadline=None)
def test_columns_of_any_words_are_as_by_themselves(columns: list[list[str | None]], data: st.DataObject) -> None:
    declaration = Declaration.from_json(data.draw(st.sampled_from(DECLARATIONS)), "schema.json")
    cells = [pl.Series("subject_id", texts, dtype=pl.String) for texts in columns]
    for column in cells:  # of any lengths
        assert same(*parse_all([column], declaration), parse(column, declaration))


@pytest.mark.parametrize("distinct", [5, 15, 25, 400, 1100])
@pytest.mark.parametrize("name", ["c", "subject_id"])
@pytest.mark.parametrize("blank", ["", " and so on "])
def test_words_of_any_number_are_as_by_themselves(distinct: int, name: str, blank: str) -> None:
    letters = np.array(list("abcdefghij"))
    words = ["".join(letters[list(map(int, str(number)))]) + blank + "x" for number in range(distinct)]
    cells = pl.Series(name, (words * 40)[:2000])
    assert same(*parse_all([cells], Declaration()), parse(cells, Declaration()))


def test_many_columns_take_microseconds_each() -> None:
    values = np.random.default_rng(0).normal(size=(20, 4000))
    cells = [pl.Series(str(column), numbers) for column, numbers in enumerate(values.T)]
    began = time.process_time()
    assert all(parsed.kind == "continuous" for parsed in parse_all(cells, Declaration()))
    assert time.process_time() - began < 2  # one by one, they take 2 ms each
