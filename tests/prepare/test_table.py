"""Table files that are odd, hostile or large: what is read of them, and the sentence for what is not."""

import datetime
import decimal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.table.parse import parse
from mmcl_jax.prepare.table.table import RawTable, read_table, require_columns


@pytest.fixture
def read(tmp_path: Path):
    """Reads these bytes as a table: `read(content, name="table.csv", **options)`."""

    def make(content: str | bytes, name: str = "table.csv", **options: str) -> RawTable:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, **options)

    return make


def cells(table: RawTable) -> list[tuple]:
    return table.frame.rows()


@pytest.mark.core
@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        "\ufeffa,b\n1,x\n2,y\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        "a,b\n\n1,x\n\n\n2,y\n\n",
        " a , b \n 1 ,x\n2,\ty \n",
        '"a", "b"\n"1",  "x"\n"2", "y"\n',
        'a, "b"\n1, "x"\n"2",y\n',
        ' "a",b\n 1,x\n  "2","y"\n',
        "a,b\n1,x\r2,y\n\n",
    ],
)
def test_the_same_table_in_other_writing(read, content: str) -> None:
    table = read(content)
    assert table.frame.columns == ["a", "b"]
    assert cells(table) == [("1", "x"), ("2", "y")]
    assert table.numbers.tolist() == [1, 2]
    assert table.bad == []


def test_quotes_separators_and_line_breaks_in_cells(read) -> None:
    rows = [("1", "two\nlines"), ("2", 'say ""so""'), ("3", "a,b"), ("4", "")]
    table = read("a,b\n" + "".join(f'{a},"{b}"\n' for a, b in rows))
    assert [b for _, b in cells(table)] == ["two\nlines", 'say "so"', "a,b", ""]
    assert cells(read('a,b\n1,5" wide\n2,6"\n')) == [("1", '5" wide'), ("2", '6"')]
    assert cells(read('a,b\n1," ""so"" he said"\n')) == [("1", '"so" he said')]


@pytest.mark.core
def test_ragged_and_misquoted_lines_are_told_apart(read) -> None:
    table = read('a,b\n1,x\n2\n\n3,y,z\n4,"5" wide\n5,ok\n')
    assert cells(table) == [("1", "x"), ("5", "ok")]
    assert table.numbers.tolist() == [1, 5]
    assert [number for number, _ in table.bad] == [2, 3, 4]
    for (_, reason), words in zip(table.bad, ("1 cells (line 3)", "3 cells (line 5)", "Line 6 cannot"), strict=True):
        assert words in reason


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, "is empty"),
        ("\n\n", {}, "is empty"),
        ("a,b\n", {}, "no rows"),
        ("a,b\n1\n", {}, "1 cells (line 2)"),
        ("a,b\n1,\0\n", {}, "zero bytes"),
        (
            "a,b\n1,é\n".encode("latin-1"),
            {},
            "line 2 holds the byte 0xe9; name its encoding, for example --encoding lat",
        ),
        ("a,b\n1,é\n".encode("utf-16"), {}, "--encoding utf-16"),
        ("a,b\n1,2\n", {"encoding": "klingon"}, "no encoding 'klingon'"),
        ("a,b\n1,2\n", {"encoding": "rot13"}, "no encoding 'rot13'"),
        ("a;b\n1;2\n", {}, "--separator ';'"),
        ("a\tb\n1\t2\n", {}, r"--separator '\t'"),
        ("a,b\n1,2\n", {"separator": "::"}, "--separator: '::'"),
        ("a,b\n1,2\n", {"separator": '"'}, "--separator: '\"'"),
        ("a,b, a\n1,2,3\n", {}, "two columns 'a'"),
        ('a,b\n1,"x\n2,y\n3,z\n', {}, "a quotation mark in line 2 is not closed"),
        ('a,b\n1,"x\n2,"y"\n3,z\n', {}, "a quotation mark in line 2 is not closed"),
        ('"a"b,c\n1,2\n', {}, "header"),
        ('a,b\n1, "x\n2,y\n3,z\n', {}, "a quotation mark in line 2 is not closed"),
        ('a,b\n1,\t"x"\n', {}, "white space other than blanks before its quotation mark"),
        ("a,b\n1,+2AA-\n", {"encoding": "utf-7"}, "halves of characters (surrogates)"),
    ],
)
def test_refused(read, content: str | bytes, options: dict, words: str) -> None:
    with pytest.raises(UserError) as error:
        read(content, **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_encodings_and_separators_that_are_named(read) -> None:
    for encoding in ("latin-1", "utf-16", "utf_8", "U8"):
        assert cells(read("a,b\n1,é\n".encode(encoding), encoding=encoding)) == [("1", "é")]
    assert read("\ufeffa,b\n1,2\n", encoding="U8").frame.columns == ["a", "b"]
    assert cells(read("a\tb\n1\t2,5\n", "table.tsv")) == [("1", "2,5")]
    assert cells(read("a;b\n1;2,5\n", separator=";")) == [("1", "2,5")]
    assert cells(read("a\tb\n1\t2,5\n", separator=r"\t")) == cells(read("a\tb\n1\t2,5\n", separator="\t"))
    assert cells(read('a b\n1 "2 3"\n', separator=" ")) == [("1", "2 3")]
    assert cells(read('a\tb\n1\t "2\t3"\n', "table.tsv")) == [("1", "2\t3")]


def test_a_folder_another_type_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "table.xlsx").touch()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nonsense")
    words = {
        "folder.csv": "is not a file",
        "table.xlsx": "must end in",
        "broken.parquet": "cannot be read",
        "x": "exist",
    }
    for name, word in words.items():
        with pytest.raises(UserError, match=word):
            read_table(tmp_path / name)


def test_names(read) -> None:
    assert read(",a,, b c ,\n1,2,3,4,5\n").frame.columns == ["unnamed_1", "a", "unnamed_3", "b c", "unnamed_5"]
    with pytest.raises(UserError, match=r"no column 'z' in t.csv; it has c0, .*c11 and 8 more"):
        require_columns([f"c{i}" for i in range(20)], ["c3", "z"], "t.csv")


def test_very_long_cells_and_one_row(read) -> None:
    long = "x" * 3_000_000
    assert cells(read(f"a,b\n1,{long}\n")) == [("1", long)]
    found = parse(pl.Series("a", [long] * 3), Declaration())
    assert len(found.why) < 200
    bad = parse(pl.Series("a", ["1"] * 30 + [long]), Declaration()).bad
    assert [row for row, _ in bad] == [30]
    assert len(bad[0][1]) < 200


def test_five_thousand_columns_in_bounded_time(read) -> None:
    names = [f"c{i}" for i in range(5000)]
    line = ",".join(["0.5", "red", "7", "", "yes"] * 1000)
    begun = time.process_time()
    table = read("\n".join([",".join(names), *[line] * 20]))
    require_columns(table.frame.columns, names, "t.csv")
    parsed = [parse(table.frame[name], Declaration()) for name in names]
    assert time.process_time() - begun < 15
    assert len(parsed) == 5000
    assert {one.role for one in parsed} == {"ignore"}


@pytest.mark.core
def test_parquet_types(tmp_path: Path) -> None:
    day = datetime.date(2020, 1, 2)
    frame = pl.DataFrame(
        {
            " text ": [" a ", "b", "", None],
            "bool": [True, False, None, True],
            "date": [day, None, day, datetime.date(1970, 1, 3)],
            "moment": [datetime.datetime(1970, 1, 2, 12)] * 3 + [None],
            "category": pl.Series(["x", "y", "NA", "x"], dtype=pl.Categorical),
            "price": pl.Series([decimal.Decimal("1.50"), decimal.Decimal("2.25"), None, None]),
            "float": [0.5, float("nan"), float("inf"), -0.0],
            "int": [-99, 2, None, 4],
            "list": [[1], [2], [3], None],
            "nothing": [None] * 4,
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.frame["text"].to_list() == ["a", "b", "", None]
    declaration = Declaration(missing=("NA", "-99"))
    found = {name: parse(table.frame[name], declaration) for name in table.frame.columns}
    assert {name: one.kind for name, one in found.items()} == {
        "text": "categorical", "bool": "boolean", "date": "date", "moment": "", "category": "categorical",
        "price": "continuous", "float": "continuous", "int": "continuous", "list": "", "nothing": "",
    }  # fmt: skip
    assert found["text"].values.to_list() == ["a", "b", None, None]
    assert found["date"].values.to_list() == [18263.0, None, 18263.0, 2.0]
    assert found["category"].missing_words == {"NA": 1}
    assert found["price"].values.to_list() == [1.5, 2.25, None, None]
    assert found["float"].values.to_list() == [0.5, None, None, 0.0]
    assert [row for row, _ in found["float"].bad] == [2]  # NaN is missing, but infinity an error
    assert found["int"].values.to_list() == [None, 2, None, 4]
    assert found["int"].missing_words == {"-99": 1}
    assert "List" in found["list"].why
    for kind in ("continuous", "categorical", "date"):
        with pytest.raises(UserError, match=r"Column 'list' is of the type List"):
            parse(table.frame["list"], Declaration.from_json({"columns": {"list": {"kind": kind}}}, "x"))


def test_words_that_look_like_numbers(read) -> None:
    def found(*words: str, name: str = "a"):
        return parse(read("\n".join([f"{name},x", *(f"{word},1" for word in words)])).frame[name], Declaration())

    numbers = found(*["1.5"] * 40, "1e400", "inf", "-inf", "NAN", "-0", "1e-400")
    assert numbers.kind == "continuous"
    assert [row for row, _ in numbers.bad] == [40, 41, 42, 43]
    assert numbers.values.to_list()[-2:] == [0.0, 0.0]
    codes = found("007", "012", "007", "013")  # what has leading zeros is a code
    assert (codes.kind, codes.column(np.arange(4)).categories) == ("categorical", ("007", "012", "013"))
    grouped = parse(pl.Series("price", ["1,000", "2,500", "999"]), Declaration())
    assert grouped.role == "ignore"
    assert "commas" in grouped.why
    mixed = found(*["1"] * 8, "two", "3", "4")
    assert mixed.kind == "continuous"
    ((row, reason),) = mixed.bad
    assert row == 8
    assert reason.startswith(
        "Column 'a' holds 'two', which is not a finite number (if it stands for \"no value\", declare"
    )
    assert found("1", "two", "3").kind == "categorical"


@pytest.mark.parametrize("name", ["count", "rows", "word", "text", "value", "index", ""])
def test_no_name_of_a_column_is_special(read, name: str) -> None:
    table = read(f"{name},x\na,1\nNA,2\nb,3\n")
    found = parse(table.frame.to_series(0), Declaration())
    assert found.missing_words == {"NA": 1}
    assert found.values.to_list() == ["a", None, "b"]


def test_an_empty_cell_is_missing_whatever_the_words_are(read) -> None:
    declaration = Declaration(missing=("-",))
    for content in ("a,b\nx,1\n,2\ny,3\n-,4\n", 'a,b\n"x",1\n"",2\n" y",3\n"-",4\n'):
        found = parse(read(content).frame["a"], declaration)
        assert found.values.to_list() == ["x", None, "y", None]
        assert found.missing_words == {"-": 1}
