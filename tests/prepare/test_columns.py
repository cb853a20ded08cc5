"""What columns are understood to be, by themselves and by declaration; and the same for rows that come later."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from mmcl_jax.data.schema import ImageSpec, Schema
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.audit import describe_columns
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import Parsed, coded, parse
from mmcl_jax.prepare.table.rows import raw_rows, template, understand
from mmcl_jax.prepare.table.table import read_table


def said(**columns: dict) -> Declaration:
    return Declaration.from_json({"columns": columns}, "schema.json")


def understood(values: Sequence, name: str = "c", **declared: object) -> Parsed:
    return parse(pl.Series(name, values, strict=False), said(**{name: declared}) if declared else Declaration())


def numbered(n: int, pattern: str = "{}") -> list[str]:
    return [pattern.format(i) for i in range(n)]


@pytest.mark.core
@pytest.mark.parametrize(
    ("values", "name", "role", "kind", "why"),
    [
        (["0.5", "1.5", "NA"], "c", "feature", "continuous", ""),
        (["2", "3", "2"], "c", "feature", "continuous", "it may be a category"),
        (["a", "b", "a"], "c", "feature", "categorical", ""),
        (["Yes", "no", "YES"], "c", "feature", "boolean", ""),
        (["0", "1", "1"], "c", "feature", "boolean", ""),
        (["0", "1", "2"], "c", "feature", "continuous", "3 different"),
        (["yes", "0", "no"], "c", "feature", "categorical", ""),
        (["2020-01-01", "2021-05-06", ""], "c", "feature", "date", ""),
        (["2020-01-01"] * 20 + ["2021-01-01", "soon"], "c", "feature", "date", "1 of its cells are no dates"),
        (["01/02/2020", "13/02/2020"], "c", "ignore", "", "seems to be a date"),
        (["2020-01-01T10:00:00Z", "2021-01-01T10:00:00Z"], "c", "ignore", "", "seems to be a date"),
        (["1,5", "2,5"], "c", "ignore", "", "commas"),
        (["", "NA"], "c", "ignore", "", "no values"),
        (["a", "a", ""], "c", "ignore", "", "all its values are 'a'"),
        (numbered(30), "c", "ignore", "", "identifier: whole numbers"),
        (numbered(30, "1{:02}000"), "price", "feature", "continuous", ""),
        (numbered(30, "1{:02}000"), "patient_id", "ignore", "", "identifier"),
        (numbered(30, "1{:02}000.0"), "eid", "ignore", "", "identifier"),
        (numbered(30, "1{:02}000") * 3, "subjectID", "ignore", "", "its name says"),
        (numbered(30, "00{}") * 3, "subject_id", "ignore", "", "its name says"),
        (numbered(30, "{}.5"), "eid", "feature", "continuous", ""),
        (numbered(30, "ad{}"), "c", "ignore", "", "identifier: 30 different texts in 30 rows"),
        (numbered(30, "a text of {} words"), "c", "ignore", "", "free text"),
        ([*numbered(18, "a{}"), *["z"] * 12], "c", "ignore", "", "too many for categories"),
    ],
)
def test_inferred(values: list[str], name: str, role: str, kind: str, why: str) -> None:
    found = understood(values, name)
    assert (found.role, found.kind) == (role, kind)
    assert why in found.why
    assert bool(why) == bool(found.why)


def test_a_label_is_a_class_or_a_number() -> None:
    def kind(values: list) -> str:
        return understood(values, role="label").kind

    assert kind(["a", "b"]) == "categorical"
    assert kind([1, 2, 3] * 20) == kind(["1", "2", "3"] * 20) == "categorical"
    assert kind(numbered(60)) == kind(numbered(60, "{}.5")) == kind(list(range(60))) == "continuous"
    assert kind(["yes", "no", "no"]) == "boolean"
    assert kind(["1.5", "2.5"]) == "continuous"
    assert kind(numbered(60, "x{}")) == "categorical"


def test_what_is_declared_holds() -> None:
    assert understood(numbered(30), role="feature").kind == "continuous"
    assert understood(["5", "5"], role="feature").kind == "continuous"
    assert understood(numbered(30, "ad{}"), role="feature").kind == "categorical"
    assert understood(["", "NA"], role="feature").kind == "categorical"
    assert understood([True, True], role="feature").kind == "boolean"
    for role in ("identifier", "image", "group", "split", "ignore"):
        found = understood(["1", "2"], role=role)
        assert (found.role, found.kind, found.bad) == (role, "", [])


def test_ordinal_order_and_values_that_are_none() -> None:
    order = ["poor", "fair", "good"]
    found = understood(["good", "poor", "bad", None, "fair"], kind="ordinal", categories=order)
    assert found.bad == [(2, "Column 'c' holds 'bad', which is not one of the declared categories.")]
    column = found.column(np.arange(5))
    assert (column.categories, column.width) == (tuple(order), 1)
    np.testing.assert_array_equal(coded(found.values, column)[0], [2, 0, np.nan, np.nan, 1])


def test_categories_are_of_the_rows_that_are_kept_and_sorted_as_numbers() -> None:
    found = understood(["10", "9", "11", "x"], kind="categorical")
    assert found.column(np.array([0, 1, 2])).categories == ("9", "10", "11")
    values, unknown = coded(found.values, found.column(np.array([0, 1])))
    np.testing.assert_array_equal(values, [1, 0, np.nan, np.nan])
    assert unknown == 2


def test_whole_floats_are_the_categories_of_integers_whatever_is_beside_them() -> None:
    for values in ([3.0, -0.0, 1e15], [3.0, -0.0, 1e15, 2.5, float("inf")]):
        assert understood(values, kind="categorical").values.to_list()[:3] == ["3", "0", "1000000000000000"]


def test_booleans() -> None:
    found = understood(["TRUE", "f", "y", "0", "1.0", "maybe", None], kind="boolean")
    assert found.values.to_list() == ["true", "false", "true", "false", "true", None, None]
    assert found.bad == [(5, "Column 'c' holds 'maybe', which is neither true nor false.")]
    named = understood(["sold", "kept", "lost"], kind="boolean", categories=["kept", "sold"])
    assert named.column(np.arange(3)).categories == ("kept", "sold")
    assert [row for row, _ in named.bad] == [2]


def test_dates() -> None:
    found = understood(["31/12/1970", "30/02/1971", "1970-01-01"], kind="date", format="%d/%m/%Y")
    assert found.values.to_list() == [364.0, None, None]
    assert found.bad[0][1] == "Column 'c' holds '30/02/1971', which is not a date like %d/%m/%Y."
    mixed = understood(["1970-01-02", "1970-01-02 12:00:00", "1970/01/02", "never"], kind="date")
    assert mixed.values.to_list() == [1.0, 1.5, 1.0, None]
    years = understood([2015, 2016], kind="date")  # no days, and no microseconds, either
    assert len(years.bad) == 2
    assert understood(["1971", "1970"], format="%Y").values.to_list() == [365.0, 0.0]


def test_missing_words_of_a_column_and_of_all() -> None:
    declaration = Declaration.from_json({"columns": {"a": {"missing": ["POA"]}}, "missing": ["-99"]}, "x")
    values = ["1.5", "POA", "-99", "", "2.5", "POA"]
    found = parse(pl.Series("a", values), declaration)
    assert found.values.to_list() == [1.5, None, None, None, 2.5, None]
    assert found.missing_words == {"POA": 2, "-99": 1}
    assert parse(pl.Series("b", ["x", "POA", "-99", "NA"]), declaration).values.to_list() == ["x", "POA", None, "NA"]
    numbers = parse(pl.Series("b", [1.5, -99.0, float("nan")]), declaration)
    assert numbers.values.to_list() == [1.5, None, None]
    assert numbers.missing_words == {"-99": 1}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "s.json: this must be a JSON object"),
        (
            {"colums": {}},
            "no key 'colums' (did you mean 'columns'?); the keys are columns, decimal, missing, others",
        ),
        ({"columns": []}, "columns must be an object"),
        ({"others": "drop"}, "others must be infer or ignore, not 'drop'"),
        ({"missing": "NA"}, "missing must be a list"),
        ({"missing": [-99]}, "s.json: missing must be a text, not -99; put it in quotes"),
        ({"columns": {"a": "label"}}, "s.json, column 'a': this must be a JSON object"),
        ({"columns": {"a": {"type": "x"}}}, "column 'a': there is no key 'type'"),
        ({"columns": {"a": {"role": "target"}}}, "role 'target' is not one of feature, label"),
        ({"columns": {"a": {"kind": "number"}}}, "kind 'number' is not one of continuous"),
        ({"columns": {"a": {"kind": ["date"]}}}, "is not one of continuous"),
        ({"columns": {"a": {"kind": "ordinal"}}}, "needs its categories in order"),
        ({"columns": {"a": {"kind": "boolean", "categories": ["a", "b", "c"]}}}, "two categories, false first, not 3"),
        ({"columns": {"a": {"kind": "continuous", "categories": ["a"]}}}, "a continuous column cannot have categories"),
        ({"columns": {"a": {"categories": ["a", "a"]}}}, "a category is named twice"),
        ({"columns": {"a": {"categories": ["a", ""]}}}, "an empty text means that a value is missing"),
        ({"columns": {"a": {"categories": [1]}}}, "column 'a': categories must be a text, not 1"),
        ({"columns": {"a": {"kind": "continuous", "format": "%Y"}}}, "only a date has a format"),
        ({"columns": {"a": {"format": 3}}}, "format must be a text"),
        (
            {"columns": {"a": {"role": "group"}, "b": {"role": "group"}}},
            "the columns ['a', 'b'] all have the role group",
        ),
    ],
)
def test_declarations_that_are_refused(raw: object, words: str) -> None:
    with pytest.raises(UserError) as error:
        Declaration.from_json(raw, "s.json")
    assert words in str(error.value)


def test_declaration_files(tmp_path) -> None:
    path = tmp_path / "schema.json"
    with pytest.raises(UserError, match="does not exist"):
        Declaration.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        Declaration.read(path)
    path.write_text('\ufeff{"others": "ignore"}', encoding="utf-8")
    assert Declaration.read(path).of("any").role == "ignore"


def test_options_beside_a_declaration() -> None:
    base = said(a={"role": "label"}, b={"kind": "continuous"})
    assert base.adding("", ("a",), kind="categorical").of("a").role == "label"
    with pytest.raises(UserError, match="'a' is declared with the role label and given ignore by an option"):
        base.adding("ignore", ("a",))
    with pytest.raises(UserError, match="'b' is declared with the kind continuous and given categorical by an option"):
        base.adding("", ("b",), kind="categorical")


@pytest.mark.core
def test_new_rows_are_read_as_the_stores_were(raw: Request, tmp_path) -> None:
    """By the declaration that the store keeps, each row alone or all together."""
    frame = pl.read_csv(raw.table).with_columns(
        day=pl.Series([f"2020-01-{i % 28 + 1:02}" for i in range(40)]),
        grade=pl.Series([["low", "high", "mid"][i % 3] for i in range(40)]),
        sold=pl.Series([["yes", "no", "NA"][i % 3] for i in range(40)]),
        power=pl.Series([None if i % 7 == 0 else i / 4 for i in range(40)]),
    )
    frame.write_csv(raw.table)
    schema = said(grade={"kind": "ordinal", "categories": ["low", "mid", "high"]}, seats={"kind": "categorical"})
    store = prepare(dataclasses.replace(raw, schema=schema), tmp_path / "store")
    declaration = Declaration.read(store.directory / "declaration.json")
    table = read_table(raw.table).frame
    values, unknown = raw_rows(table, store.schema, declaration, "ads.csv")
    assert unknown == [0] * len(store.schema.columns)
    assert {column.kind for column in store.schema.columns} == {
        "continuous", "categorical", "ordinal", "boolean", "date",
    }  # fmt: skip
    for split in store.sizes:
        arrays = store.arrays(split)
        np.testing.assert_array_equal(values[np.asarray(arrays["id"])], arrays["table"])
    alone = [raw_rows(table[row : row + 1], store.schema, declaration, "x")[0] for row in range(40)]
    np.testing.assert_array_equal(np.concatenate(alone), values)

    strange = table.with_columns(gearbox=pl.lit("cvt"), grade=pl.lit("best"))[:3]
    values, unknown = raw_rows(strange, store.schema, declaration, "new.csv")
    names = [column.name for column in store.schema.columns]
    assert {name: count for name, count in zip(names, unknown, strict=True) if count} == {"gearbox": 3, "grade": 3}
    np.testing.assert_array_equal(values[:, [names.index("gearbox"), names.index("grade")]], -1)
    with pytest.raises(UserError, match=r"Row 1 of new.csv: Column 'price' holds 'cheap'"):
        raw_rows(table.with_columns(price=pl.lit("cheap")), store.schema, declaration, "new.csv")
    with pytest.raises(UserError, match=r"no column 'price' in new.csv"):
        raw_rows(table.drop("price"), store.schema, declaration, "new.csv")


def test_a_template_says_the_same_again(raw: Request) -> None:
    rows = understand(raw, None, Quarantine())
    again = Declaration.from_json(json.loads(json.dumps(template(rows).to_json())), "template")
    frame = read_table(raw.table).frame
    for one in rows.columns:
        other = parse(frame[one.name], again)
        assert (one.role, one.kind, one.values.to_list()) == (other.role, other.kind, other.values.to_list())


def test_keys(raw: Request) -> None:
    def keys(frame: pl.DataFrame, **changes: object) -> tuple[list[str], list[tuple[int, str]]]:
        frame.write_parquet(raw.table.with_suffix(".parquet"))
        quarantine = Quarantine()
        request = dataclasses.replace(raw, table=raw.table.with_suffix(".parquet"), **changes)
        found = understand(request, None, quarantine).keys
        return found, [(entry.row, entry.cause) for entry in quarantine.entries]

    frame = pl.read_csv(raw.table)[:4]
    assert keys(frame.with_columns(ad=pl.Series([7.0, 8.0, None, 7.0])))[0] == ["7", "8", "", "7"]
    causes = keys(frame.with_columns(ad=pl.Series(["a", "NA", "a", "NA"])))[1]
    assert causes == [(2, "missing identifier"), (3, "duplicate identifier"), (4, "missing identifier")]
    paths, bad = keys(frame.with_columns(file=pl.Series(["x.png", "x.png", "y.png", None])), key_column=None)
    assert len(set(paths)) == 4
    assert paths[0] == "x.png"
    assert bad == [(4, "missing image")]


def test_a_column_without_a_category_can_be_encoded() -> None:
    from mmcl_jax.data.table.encoding import Encoding
    from mmcl_jax.data.table.statistics import Statistics

    found = understood(["", ""], role="feature")
    column = found.column(np.arange(2))
    assert column.categories == ()
    schema = Schema(columns=(column,), image=ImageSpec(height=1, width=1, channels=1, fit=""))
    table = coded(found.values, column)[0][:, None]
    for policy in ("mean", "iterative", "token"):
        encoding = Encoding.fit(table, schema, Statistics.fit(table, schema), missing=policy)
        assert np.isnan(encoding.encode(table)).all() == (policy == "token")


@pytest.mark.parametrize("name", ["rows", "text", "count"])
def test_findings_of_odd_columns(name: str) -> None:
    """Floats with nothing between them or too far apart, lists, ties between categories, names of any kind."""
    from mmcl_jax.data.table.statistics import Statistics

    near = 1e17 + 16.0 * np.arange(30)
    columns = [
        understood(near, name), understood(1.7e308 * np.linspace(-1, 1, 30)),
        understood([[i] for i in range(30)], "list"), understood(["c", "b", "a"] * 10, name),
    ]  # fmt: skip
    schema = Schema(columns=(), image=ImageSpec(height=1, width=1, channels=1, fit=""))
    table = np.zeros((30, 0))
    with np.errstate(over="ignore"):
        found = describe_columns(columns, schema, table, Statistics.fit(table, schema), {"train": np.arange(30)}, {})
    assert [sum(one.histogram.get("counts", [])) for one in found] == [30, 30, 0, 0]
    assert found[2].distinct == 30
    assert found[3].top == [("a", 10), ("b", 10), ("c", 10)]


def test_the_share_of_bad_rows_is_exact() -> None:
    quarantine = Quarantine()
    for row in range(29):
        quarantine.add(row + 1, None, "x", "Its reason.")
        quarantine.add(row + 1, None, "y", "Another.")
        quarantine.add(row + 50, None, "z", "By choice.", chosen=True)
    quarantine.refuse_above(0.29, 100, "t.csv")  # 0.29 * 100 is 28.999...
    assert quarantine.causes() == {"x": 29, "z": 29}
    with pytest.raises(UserError, match=r"Row 1 of t.csv: Its reason. 28 more rows are bad. 29 of 100 rows are more"):
        quarantine.refuse_above(0.28, 100, "t.csv")
