"""Numbers and dates in other notations: a suggestion names the declaration that reads them, and it works."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.readings import PLAIN, Reading, days, suggest
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import Parsed, parse
from mmcl_jax.prepare.table.rows import raw_rows
from mmcl_jax.prepare.table.table import read_table

DAYS = [f"{day:02}" for day in range(1, 29)]
# What is written, and the declarations that are named, each with the value it reads from the first cell.
WRITTEN = {
    "decimal comma": ([f"{i},5" for i in range(30, 70)], [({"decimal": ","}, 30.5)]),
    "one decimal": ([f"{i},{i % 10}" for i in range(200)], [({"decimal": ","}, 0.0)]),
    "thousands or decimals": (
        ["1,695", "2,500", "12,000"] * 9,
        [({"decimal": ","}, 1.695), ({"thousands": ","}, 1695)],
    ),
    "thousands": (["1,234,567", "2,500", "12,000"] * 9, [({"thousands": ","}, 1234567)]),
    "thousands and a fraction": (["1,234.5", "12,000.25"] * 9, [({"thousands": ","}, 1234.5)]),
    "points and a comma": (["1.234,5", "12.000,25"] * 9, [({"decimal": ",", "thousands": "."}, 1234.5)]),
    "thin blanks": ([f"{i}\u2009{i + 100}" for i in range(1, 40)], [({"thousands": " "}, 1101)]),
    "narrow blanks": ([f"{i}\u202f{i + 100},5" for i in range(1, 40)], [({"decimal": ",", "thousands": " "}, 1101.5)]),
    "fixed blanks": ([f"{i}\u00a0{i + 100}" for i in range(1, 40)], [({"thousands": " "}, 1101)]),
    "apostrophes": ([f"{i}\u2019{i + 100}.5" for i in range(1, 40)], [({"thousands": "'"}, 1101.5)]),
    "percent": ([f"{i} %" for i in range(45, 80)], [({"unit": "%"}, 45)]),
    "percent without a blank": ([f"{i}%" for i in range(45, 80)], [({"unit": "%"}, 45)]),
    "a few lengths": (["12 mm", "10 mm", "8.5 mm"] * 9, [({"unit": "mm"}, 12)]),
    "lengths with a comma": ([f"\u2212{i},5 mm" for i in range(40)], [({"decimal": ",", "unit": "mm"}, -0.5)]),
    "euros": (["1.234,50 €", "99,00 €"] * 9, [({"decimal": ",", "thousands": ".", "unit": "€"}, 1234.5)]),
    "dollars": (["$1,234.50", "$99.00"] * 9, [({"thousands": ",", "unit": "$"}, 1234.5)]),
    "a name of a month": ([f"{day}-Jan-2020" for day in DAYS], [({"format": "%d-%b-%Y"}, 18262)]),
    "a long name": ([f"{day} May 2020" for day in DAYS], [({"format": "%d %b %Y"}, 18383)]),
    "points": ([f"{day}.01.2010" for day in DAYS], [({"format": "%d.%m.%Y"}, 14610)]),
    "day or month first": (
        ["01.02.2010", "03.04.2011"] * 9,
        [({"format": "%d.%m.%Y"}, 14641), ({"format": "%m.%d.%Y"}, 14611)],
    ),
    "one day of the year": (
        ["01.01.2010", "01.01.2011"] * 9,
        [({"format": "%d.%m.%Y"}, 14610), ({"format": "%m.%d.%Y"}, 14610)],
    ),
    "months first": ([f"01/{day}/2010" for day in DAYS], [({"format": "%m/%d/%Y"}, 14610)]),
    "years of two digits": ([f"{day}.01.10" for day in DAYS], [({"format": "%d.%m.%y"}, 14610)]),
    "whole numbers": ([f"202001{day}" for day in DAYS], [({"format": "%Y%m%d"}, 18262)]),
    "whole floats": ([f"202001{day}.0" for day in DAYS], [({"format": "%Y%m%d"}, 18262)]),
    "with a time": ([f"{day}.01.2010 12:00" for day in DAYS], [({"format": "%d.%m.%Y %H:%M"}, 14610.5)]),
    "in universal time": (
        [f"2020-01-{day}T12:00:00Z" for day in DAYS],
        [({"format": "%Y-%m-%dT%H:%M:%S%.fZ"}, 18262.5)],
    ),
}  # fmt: skip
NO_READING = {
    "limits": (["<0.5", "0.7", "1.25", ">100"] * 9, "'<0.5', which is no number in any reading", '"missing"'),
    "few limits": ([*[f"{i}.5" for i in range(60)], "<0.5"], "'<0.5', which is no number", '"missing"'),
    "limits of whole numbers": ([*["1", "2", "3"] * 20, "<1"], "'<1', which is no number", '"missing"'),
    "several units": ([*[f"{i} mm" for i in range(20)], *[f"{i} cm" for i in range(20)]], "several units", "with one"),
    "several formats": (["01/02/2020", "13/02/2020", "02/14/2020"], "not all in one format", "like 2020-01-31"),
}


def read(cells: list[str], role: str = "", **declared: str) -> Parsed:
    declaration = Declaration.from_json({"columns": {"c": {"role": role, **declared}}}, "schema.json")
    return parse(pl.Series("c", cells), declaration)


def named(sentence: str) -> list[dict[str, str]]:
    """Return the declarations that a message names, without the last one, which makes categories."""
    actual = [json.loads(text) for text in re.findall(r"\{[^{}]*\}", sentence)]
    assert actual[-1] == {"kind": "categorical"}
    return [one for one in actual[:-1] if "kind" not in one]


@pytest.mark.core
@pytest.mark.parametrize("name", WRITTEN)
def test_the_reading_is_named_and_works_and_is_not_guessed(name: str) -> None:
    cells, readings = WRITTEN[name]
    ignored = read(cells)
    assert (ignored.role, ignored.kind, ignored.bad) == ("ignore", "", [])
    assert named(ignored.why) == [declared for declared, _ in readings]
    for role in ("label", "feature"):
        with pytest.raises(UserError, match=f"^Column 'c' cannot be used as a {role}: it seems to be") as error:
            read(cells, role)
        assert named(str(error.value)) == named(ignored.why)
        assert len(str(error.value)) < 500
        assert len(read(cells, role, kind="categorical").column(np.arange(len(cells))).categories) == len(set(cells))
    for declared, value in readings:
        actual = read(cells, "feature", **declared)
        assert actual.kind == ("date" if "format" in declared else "continuous")
        assert actual.bad == []
        assert actual.values[0] == pytest.approx(value)
        assert read(cells, "label", **declared).kind != ""
    kind = "date" if "format" in readings[0][0] else "continuous"
    if name not in ("whole numbers", "whole floats"):
        bad = read(cells, kind=kind).bad  # a kind without the reading names it in the reason of every row
        assert bad
        assert named(bad[0][1]) == [declared for declared, _ in readings]


@pytest.mark.parametrize("name", NO_READING)
def test_what_has_no_reading_is_said_to_have_none(name: str) -> None:
    cells, what, remedy = NO_READING[name]
    with pytest.raises(UserError) as error:
        read(cells, "label")
    assert what in str(error.value)
    assert remedy in str(error.value)
    actual = read(cells)
    assert what in actual.why
    assert actual.kind != "categorical"
    if "limits" in name:
        missing = [cell for cell in cells if cell[0] in "<>"]
        later = Declaration.from_json({"columns": {"c": {"missing": list(set(missing))}}}, "s")
        values = parse(pl.Series("c", cells), later)
        assert (values.kind, values.bad, values.values.null_count()) == ("continuous", [], len(missing))


@pytest.mark.parametrize(
    "cells",
    [
        ["red", "green"], ["2wd", "4wd"], ["A1", "B2"], ["3a", "4b", "5c"], ["v1.2", "v1.3"], ["10:30", "11:45"],
        ["1/2", "1/3"], ["10-20", "20-30"], ["grade 1", "grade 2"], ["1.0.1", "1.0.2"], ["007", "012"],
        ["1,2,3", "2,3,4"],
    ],
)  # fmt: skip
def test_texts_that_are_no_numbers_stay_categories(cells: list[str]) -> None:
    for role in ("", "label"):
        actual = read(cells * 9, role)
        assert (actual.kind, actual.why) == ("categorical", "")


@pytest.mark.parametrize(
    ("reading", "cells"),
    [
        (PLAIN, {"1.5": 1.5, "\u22121.5": -1.5, "+2": 2.0, "1e3": 1000.0, ".5": 0.5, "1,5": None, "1 000": None}),
        (Reading(","), {"1,5": 1.5, "-1,5": -1.5, "2": 2.0, "1.5": None, "1.000": None, ",5": 0.5, "1,5e2": 150.0}),
        (Reading(",", "."), {"1.234,5": 1234.5, "1.5": None, "12.34": None, "0.123": None, "1.234.567": 1234567.0}),
        (Reading(".", " "), {"1 234": 1234.0, "1\u202f234.5": 1234.5, "1 23": None, "12": 12.0, " ": None}),
        (Reading(".", "", "mm"), {"12 mm": 12.0, "12mm": 12.0, "12": 12.0, "12 cm": None, "mm": None, "mm 3": 3.0}),
        (Reading(".", ",", "$"), {"-$1,000": -1000.0, "$-5": -5.0, "$ 5": 5.0, "5$": 5.0, "$": None}),
        (Reading(".", "", "kg/m^2 (x)"), {"12 kg/m^2 (x)": 12.0, "12 kg/m": None}),
    ],
)
def test_a_reading(reading: Reading, cells: dict) -> None:
    assert dict(zip(cells, reading.numbers(pl.Series(list(cells))), strict=True)) == cells


def test_every_format_that_is_named_parses_every_cell() -> None:
    rng = np.random.default_rng(0)
    moments = pl.Series(rng.integers(-(2**31), 2**32, 30)).cast(pl.Int64)
    moments = pl.select(pl.from_epoch(moments, "s")).to_series()
    for form in ("%d.%m.%Y", "%m/%d/%Y", "%d-%b-%Y", "%B %d, %Y", "%d%b%Y", "%Y.%m.%d", "%d/%m/%Y %H:%M:%S", "%I:%M"):
        texts = moments.dt.to_string(form)
        suggestion = suggest(texts)
        formats = re.findall(r'"format": "([^"]*)"', str(suggestion or ""))
        read = [days(texts, one) for one in formats]
        assert all(values.null_count() == 0 for values in read)
        assert any(values.equals(days(texts, form)) for values in read) == (form != "%I:%M")


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"decimal": ";"}, "decimal: ';' is not one of '.' ','"),
        ({"thousands": "x"}, "thousands: 'x' is not one of"),
        ({"thousands": "."}, "'.' cannot be both the decimal and the thousands mark; declare both"),
        ({"decimal": ",", "format": "%Y"}, "a date has no decimal or thousands mark"),
        ({"verbatim": "yes"}, "verbatim must be true or false, not 'yes'"),
        ({"decimal": 1}, "decimal: 1 is not one of"),
    ],
)
def test_declarations_that_are_refused(declared: dict, words: str) -> None:
    with pytest.raises(UserError) as error:
        Declaration.from_json({"columns": {"c": declared}}, "s.json")
    assert words in str(error.value)
    if set(declared) <= {"decimal", "thousands"}:
        with pytest.raises(UserError, match=re.escape(words.split(";")[0])):
            Declaration.from_json(declared, "s.json")


def test_marks_of_the_whole_table_and_of_a_column() -> None:
    table = {"decimal": ",", "thousands": ".", "columns": {"b": {"decimal": "."}, "c": {"unit": "kg"}}}
    declaration = Declaration.from_json(table, "s.json")
    assert Declaration.from_json(declaration.to_json(), "again") == declaration
    assert [declaration.reading(name) for name in "abc"] == [
        Reading(",", "."), Reading(".", ""), Reading(",", ".", "kg"),
    ]  # fmt: skip
    assert parse(pl.Series("a", ["1.234,5", "2"]), declaration).values.to_list() == [1234.5, 2.0]
    assert parse(pl.Series("a", [1.5, 2.5]), declaration).values.to_list() == [1.5, 2.5]  # no matter of writing
    grades = parse(pl.Series("a", ["1,0", "1", "2,0"] * 9), declaration.adding("label", ("a",)))
    assert grades.column(np.arange(27)).categories == ("1", "2")


def test_the_options_that_a_message_names_work(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = pl.read_csv(raw.table).with_columns(
        pl.col("price").round(2).cast(pl.String).str.replace(".", ",", literal=True),
        age=pl.Series([f"{20 + i // 10},{i % 10}" for i in range(40)]),
    )
    table.write_csv(raw.table, separator="\t")
    options = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--workers", "1"]
    options += ["--label", "age", "--subsets", "0.5"]
    store = tmp_path / "store"

    def refused(*more: str) -> str:
        assert main(["prepare", *options, *more, "--out", str(store)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not store.exists()
        return error

    assert r"name it with --separator '\t'" in refused()
    tab = ["--separator", r"\t"]
    assert "(or give --decimal , for the whole table)" in refused(*tab)
    assert "--decimal: ';' is not one of '.' ','" in refused(*tab, "--decimal", ";")
    assert "cannot be both the decimal and the thousands mark" in refused(*tab, "--decimal", ",", "--thousands", ",")
    assert main(["prepare", *options, *tab, "--decimal", ",", "--out", str(store)]) == 0
    opened = Store.open(store)
    assert {column.name: column.kind for column in opened.schema.columns}["price"] == "continuous"
    assert opened.schema.labels[0].kind == "continuous"
    arrays = opened.arrays("train")
    rows = arrays["id"]
    np.testing.assert_array_equal(arrays["labels"][:, 0], [20 + row // 10 + row % 10 / 10 for row in rows])
    values, _ = raw_rows(read_table(raw.table, separator="\t").frame, opened.schema, opened.declaration, "later")
    np.testing.assert_array_equal(values[rows], arrays["table"])
    again = ["--request", str(store / "store.json"), "--workers", "1", "--out", str(tmp_path / "again")]
    assert main(["prepare", *again]) == 0
    for name in ("entries.json", "declaration.json", "rows.npz", "keys.json", "statistics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (store / name).read_bytes()
