"""A table in pieces holds what `read_table` reads at once."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.table.pieces import TablePieces
from mmcl_jax.prepare.table.table import read_table

CELLS = st.text(alphabet=st.sampled_from('ab1.-" ,;\n\té'), max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=12), size=st.integers(1, 5))
def test_pieces_of_a_text_file(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], size: int) -> None:
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b", "c"], *rows])
    try:
        expected = read_table(path)
    except UserError:  # no record can be read
        return
    pieces = list(TablePieces(path).read(size, columns=["b"]))
    assert TablePieces(path).rows >= expected.frame.height + len(expected.bad)
    assert [index for index, _ in pieces] == list(range(len(pieces)))
    read = pl.concat([piece.frame for _, piece in pieces])
    assert read.fill_null("").equals(expected.frame.fill_null(""))  # an empty cell is null or "", which are missing
    assert np.concatenate([piece.numbers for _, piece in pieces]).tolist() == expected.numbers.tolist()
    assert [bad for _, piece in pieces for bad in piece.bad] == expected.bad
    for index, piece in pieces:
        numbers = [*piece.numbers.tolist(), *(number for number, _ in piece.bad)]
        assert sorted(numbers) == list(range(index * size + 1, index * size + 1 + len(numbers)))
    odd = list(TablePieces(path).read(size, columns=["b"], skip=lambda index: index % 2 == 0))
    assert [index for index, _ in odd] == [index for index, _ in pieces if index % 2]
    assert all(piece.frame.equals(pieces[index][1].frame) for index, piece in odd)


def test_pieces_of_a_parquet_file_and_of_a_frame(tmp_path: Path) -> None:
    frame = pl.DataFrame({" a ": [" x", None, "y"], "b": [1.5, 2.0, None], "c": [1, 2, 3]})
    frame.write_parquet(tmp_path / "rows.parquet")
    expected = read_table(tmp_path / "rows.parquet").frame.select("a", "c")
    for table in (tmp_path / "rows.parquet", frame):
        opened = TablePieces(table)
        assert (opened.rows, opened.columns) == (3, ["a", "b", "c"])
        pieces = [piece for _, piece in opened.read(2, columns=["a", "c"])]
        assert pl.concat([piece.frame for piece in pieces]).equals(expected)
        assert [piece.numbers.tolist() for piece in pieces] == [[1, 2], [3]]


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a,b\n1,2\n\xe9,3\n")
    with pytest.raises(UserError, match=r"is not utf-8.*--encoding latin-1"):
        list(TablePieces(tmp_path / "rows.csv").read(10, columns=["a"]))
    pieces = list(TablePieces(tmp_path / "rows.csv", encoding="latin-1").read(10, columns=["a"]))
    assert pieces[0][1].frame["a"].to_list() == ["1", "é"]
