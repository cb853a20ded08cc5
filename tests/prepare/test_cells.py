"""One text for one value: whole numbers, words for "no value", and the same table in every type of file."""

import dataclasses
import datetime
import decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.gather import gather
from mmcl_jax.prepare.inspection import inspect
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.cells import canonical_integers, is_verbatim, match_words
from mmcl_jax.prepare.table.parse import parse
from mmcl_jax.prepare.table.rows import raw_rows, resolved
from mmcl_jax.prepare.table.table import read_table


def said(**columns: dict) -> Declaration:
    return Declaration.from_json({"columns": columns}, "schema.json")


def classes(values: object, dtype: object = None, **declared: object) -> tuple[str, ...]:
    """The classes of a label."""
    column = pl.Series("c", values, dtype=dtype)
    found = parse(column, said(c={"role": "label", **declared}))
    return found.column(np.arange(len(column))).categories


@pytest.mark.parametrize(
    ("written", "text"),
    [
        *((one, "1") for one in ("1", "1.0", "1.00", "1.", "+1", "1e0", "1E+00", "10e-1", "1.000000e+00")),
        *((one, "0") for one in ("0", "-0", "0.0", "-0.0", "0e5")),
        *((one, "100000") for one in ("1e5", "1e+05", "100000", "100000.0")),
        *((one, "-7") for one in ("-7", "-7.0", "\u22127", "\u22127.0")),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740993"),
        ("18446744073709551615.000", "18446744073709551615"),
        *((one, one) for one in ("01", "01.0", "1.5", "1.50", "-0.5", "1e-3")),
        *((one, one) for one in ("1e400", "1e99999999999999999999", "inf", "a", "1.0.0", "", "NaN")),
    ],
)
def test_the_text_of_a_number(written: str, text: str) -> None:
    assert canonical_integers(pl.Series([written, None])).to_list() == [text, None]
    assert canonical_integers(pl.Series([text])).to_list() == [text]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(["1", "1.0", "2", "3.0", "1.00"] * 8),
        pl.Series(["1", "1.0", "2", "3.0", None] * 8),
        pl.Series(["1", "1.0", "2", "3.0", "NA"] * 8),
        pl.Series(["1", "1.0", "2", "3.0", "1.0"] * 8, dtype=pl.Categorical),
        pl.Series(["1", "1.0", "2", "3.0", "1.0"] * 8, dtype=pl.Enum(["1", "1.0", "2", "3.0"])),
        pl.Series([1, 2, 3, None] * 10),
        pl.Series([1, 2, 3] * 10, dtype=pl.UInt8),
        pl.Series([1.0, 2.0, 3.0, None, float("nan")] * 10),
        pl.Series([1.0, 2.0, 3.0] * 10, dtype=pl.Float32),
        pl.Series([decimal.Decimal("1.00"), decimal.Decimal("2"), decimal.Decimal("3")] * 10),
    ],
    ids=lambda column: str(column.dtype),
)
def test_grades_are_three_classes_in_every_type(column: pl.Series) -> None:
    assert classes(column) == ("1", "2", "3")
    assert classes(column, kind="categorical") == ("1", "2", "3")
    ids = parse(column.alias("c"), said(c={"role": "group"})).values
    assert set(ids.drop_nulls()) == {"1", "2", "3"}


def test_large_identifiers_keep_their_digits() -> None:
    ids = [9007199254740992, 9007199254740993, 9007199254740994]
    for column in (pl.Series(ids), pl.Series(map(str, ids)), pl.Series([f"{one}.0" for one in ids])):
        assert classes(column.extend(column).extend(column)) == tuple(map(str, ids))
        for role in ("identifier", "group"):
            values = parse(column.alias("c"), said(c={"role": role})).values
            assert values.unique(maintain_order=True).to_list() == list(map(str, ids))


def test_a_word_beside_the_numbers_does_not_part_them() -> None:
    assert classes(["1", "1.0", "2", "unknown"] * 8) == ("1", "2", "unknown")
    assert classes(["01", "1", "1.0", "02"] * 8) == ("01", "1", "02")


@pytest.mark.parametrize("other", ["1.10", "1.0.1", "2.0-beta", "v2", "3a7", "2.50"])
def test_where_the_writing_matters_nothing_is_made_one_and_it_is_said(other: str) -> None:
    texts = pl.Series("c", ["1", "1.0", other] * 8)
    assert is_verbatim(texts)
    found = parse(texts, said(c={"kind": "categorical"}))
    assert set(found.values) == {"1", "1.0", other}
    assert "'1' and '1.0' count as different values" in found.remark
    assert '"verbatim": false' in found.remark
    assert set(parse(texts, said(c={"kind": "categorical", "verbatim": False})).values) == {"1", other}
    apart = parse(texts, said(c={"kind": "categorical", "verbatim": True}))
    assert (set(apart.values), apart.remark) == ({"1", "1.0", other}, "")
    versions = parse(pl.Series("c", ["1.0", "1.10", "2.0"] * 8), said(c={"kind": "categorical"}))
    assert (set(versions.values), versions.remark) == ({"1.0", "1.10", "2.0"}, "")


def test_declared_categories_are_met_by_the_same_number_and_stay_as_declared() -> None:
    cells = pl.Series("c", ["1", "2.0", "1.0", "3", "x"])
    for declared in (["1", "2", "3"], ["1.0", "2.0", "3.0"]):
        found = parse(cells, said(c={"kind": "ordinal", "categories": declared}))
        assert found.values.to_list() == [declared[0], declared[1], declared[0], declared[2], None]
        assert [row for row, _ in found.bad] == [4]
    both = parse(cells, said(c={"kind": "categorical", "categories": ["1", "1.0", "2.0", "3"]}))
    assert both.values.to_list() == ["1", "2.0", "1.0", "3", None]
    exact = parse(cells, said(c={"kind": "categorical", "categories": ["1", "2"], "verbatim": True}))
    assert exact.values.to_list() == ["1", None, None, None, None]
    yes = parse(pl.Series("c", ["1.0", "0", "1"]), said(c={"kind": "boolean", "categories": ["0", "1"]}))
    assert yes.values.to_list() == ["1", "0", "1"]


@pytest.mark.parametrize(
    ("cells", "words", "met"),
    [
        (["-99.0", "-99", "5.9"], ["-99"], {"-99": 2}),
        (["-99", "-99.00", "-9.9e1", "\u221299"], ["-99.0"], {"-99.0": 4}),
        (["9007199254740993", "9007199254740992"], ["9007199254740992"], {"9007199254740992": 1}),
        (["099", "99", "a"], ["99"], {"99": 1}),
        (["9.5", "9.50", "x"], ["9.5"], {"9.5": 2}),
        (["NA ", " NA", "x"], ["NA"], {"NA": 2}),
        (["inf", "1"], ["inf"], {"inf": 1}),
    ],
)
def test_words_and_cells_that_are_numbers_are_compared_as_numbers(cells: list, words: list, met: dict) -> None:
    declaration = Declaration.from_json({"missing": words}, "s")
    types = [pl.String, pl.Categorical] + ([pl.Enum(cells)] if len(set(cells)) == len(cells) else [])
    for dtype in types:
        found = parse(pl.Series("c", [*cells, "7", "8"], dtype=pl.String if dtype == pl.Enum else dtype), declaration)
        assert found.missing_words == met, dtype
        assert found.values.null_count() == sum(met.values())


def test_a_sentinel_is_missing_in_a_column_of_any_number_type() -> None:
    declaration = Declaration.from_json({"missing": ["", "NA", "-99"]}, "s")
    for dtype in (pl.Float32, pl.Float64, pl.Int16, pl.Int64, pl.Decimal(9, 3)):
        found = parse(pl.Series("c", [-99, 5, 6, -99, 8], dtype=pl.Int64).cast(dtype), declaration)
        assert found.values.to_list() == [None, 5, 6, None, 8]
        assert found.missing_words == {"-99": 2}


def test_a_declared_category_is_never_missing() -> None:
    cells = ["None", "Mild", "NA", "Severe", "", "None"]
    lost = parse(pl.Series("c", cells), said(c={"role": "label"}))
    assert lost.values.null_count() == 4
    for declared in ({"categories": ["None", "Mild", "Severe"]}, {"present": ["None"]}):
        found = parse(pl.Series("c", cells), said(c={"role": "label", **declared}))
        assert found.values.to_list() == ["None", "Mild", None, "Severe", None, "None"]
        assert found.missing_words == {"NA": 1}
    grade = Declaration.from_json({"missing": ["-9"], "columns": {"c": {"categories": ["-9", "1"]}}}, "s")
    assert parse(pl.Series("c", ["-9.0", "1"]), grade).values.to_list() == ["-9", "1"]
    for key in ("categories", "present"):
        with pytest.raises(UserError, match=f"'None' is in both missing and {key}; remove it from one of them"):
            said(c={key: ["None", "a"], "missing": ["None"]})


def test_a_class_taken_for_missing_is_warned_of_with_the_choice(raw: Request) -> None:
    table = pl.read_csv(raw.table).with_columns(model=pl.Series([["None", "Mild"][i % 2] for i in range(40)]))
    table.write_csv(raw.table)
    found, _, rows = looked(raw)
    (warning,) = [text for text in found.warnings if "no value of the label" in text]
    assert '20 hold \'None\'; if that is a class, declare {"present": ["None"]} in --schema' in warning
    present = dataclasses.replace(raw, schema=said(model={"present": ["None"]}))
    found, _, rows = looked(present)
    assert found.schema.labels[0].categories == ("Mild", "None")
    option, _, _ = looked(dataclasses.replace(raw, missing=("NA",)))
    assert option.schema.labels[0].categories == ("Mild", "None")
    later = raw_rows(read_table(raw.table).frame, found.schema, resolved(rows), "t")[0]
    assert not np.isnan(later).any()


def looked(request: Request) -> tuple:
    """Inspect a table without its images: (inspected, quarantine, rows)."""
    quarantine = Quarantine()
    gathered = gather(dataclasses.replace(request, max_bad=1.0), None, quarantine)
    rows = gathered.rows
    return inspect(gathered, rows.left(quarantine), request, None), quarantine, rows


def a_table(seed: int, rows: int = 60) -> tuple[pl.DataFrame, dict]:
    """A typed table with a column of every kind, and its schema, by chance."""
    rng = np.random.default_rng(seed)

    def some(values: list, absent: float = 0.15) -> list:
        return [None if rng.random() < absent else values[int(rng.integers(len(values)))] for _ in range(rows)]

    day = datetime.date(2000, 1, 1)
    moment = datetime.datetime(2020, 1, 1)
    columns = {
        "file": pl.Series([f"{i}.png" for i in range(rows)]),
        "id": pl.Series(2**60 + rng.permutation(rows)),
        "person": pl.Series(some([2**53 + i for i in range(12)])),
        "grade": pl.Series(some([1, 2, 3]), dtype=pl.Int8),
        "stage": pl.Series(some([1.0, 2.0, 3.0])),
        "half": pl.Series(some([0.5, 1.0, 1.5, 2.0])),
        "crp": pl.Series(some([-99.0, *rng.normal(5, 1, 40).round(3)])),
        "small": pl.Series(some([-99.0, *rng.normal(5, 1, 40)]), dtype=pl.Float32),
        "count": pl.Series(some([-99, *map(int, rng.integers(0, 500, 40))])),
        "huge": pl.Series(some([1e17, 1e5, 12.0, 3e-7])),
        "price": pl.Series(some([decimal.Decimal(int(i)) / 100 for i in rng.integers(100, 9999, 20)])),
        "whole_price": pl.Series(some([decimal.Decimal("3.00"), decimal.Decimal("12.00")])),
        "flag": pl.Series(some([True, False])),
        "zero_one": pl.Series(some([0, 1])),
        "day": pl.Series(some([day + datetime.timedelta(int(i)) for i in rng.integers(0, 9000, 30)])),
        "moment": pl.Series(some([moment + datetime.timedelta(0, float(i)) for i in rng.integers(0, 9**9, 30) / 8])),
        "word": pl.Series(some([" red", "red", "green ", "NA", "NA ", "blue"])),
        "code": pl.Series(some(["007", "012", "12", "1"])),
        "version": pl.Series(some(["1.0", "1.10", "2.0", "1"])),
        "mixed": pl.Series(some(["1", "1.0", "2", "2.00", "n.k."])),
        "minus": pl.Series(some(["\u22121.5", "2.5", "\u22123", "-99.00", "4", "5.25"])),
        "^.*$": pl.Series(some([0.25, 0.5, 0.75, 1.0])),
        "a,b": pl.Series(some(["x", 'y "z"', "two\nlines"])),
    }
    kinds = {name: {"kind": "categorical"} for name in ("stage", "half", "huge", "version", "mixed", "whole_price")}
    kinds |= {"grade": {"role": "label"}, "minus": {"kind": "continuous"}}
    return pl.DataFrame(columns), {"columns": kinds, "missing": ["", "NA", "-99"]}


def written(table: pl.DataFrame, folder: Path) -> list[Path]:
    """The table as files of every type."""
    paths = [folder / name for name in ("t.csv", "t.tsv", "typed.parquet", "text.parquet", "category.parquet")]
    table.write_csv(paths[0], datetime_format="%Y-%m-%d %H:%M:%S%.f")
    table.write_csv(paths[1], separator="\t")  # and moments with a T
    table.write_parquet(paths[2])
    texts = pl.read_csv(paths[0], infer_schema=False)
    texts.write_parquet(paths[3])
    texts.select(pl.all().cast(pl.Categorical)).write_parquet(paths[4])
    enums = [column.cast(pl.Enum(column.drop_nulls().unique())) for column in texts]
    pl.DataFrame(enums).write_parquet(folder / "enum.parquet")
    return [*paths, folder / "enum.parquet"]


@pytest.mark.parametrize("seed", range(8))
def test_the_same_table_is_the_same_in_every_type_of_file(seed: int, tmp_path: Path) -> None:
    """Schema, values, labels, splits, keys, groups and bad rows; and later rows of any type by the first's reading."""
    table, schema = a_table(seed)
    options = {"image_column": ("file",), "key_column": "id", "group_column": "person", "max_bad": 1.0}
    found = []
    for path in written(table, tmp_path):
        request = Request(table=path, images=tmp_path, schema=Declaration.from_json(schema, "s"), **options)
        found.append((path.name, *looked(request), read_table(path).frame))
    _, one, quarantine, rows, _ = found[0]
    kinds = {column.name: column.kind for column in one.schema.columns}
    assert kinds["^.*$"] == kinds["crp"] == kinds["minus"] == "continuous"
    assert one.schema.labels[0].categories == ("1", "2", "3")
    first = None
    for name, other, bad, again, frame in found:
        assert other.schema == one.schema, name
        for array in ("table", "labels", "rows"):
            np.testing.assert_array_equal(getattr(other, array), getattr(one, array), err_msg=name)
        for split, members in one.splits.items():
            np.testing.assert_array_equal(other.splits[split], members, err_msg=name)
        assert again.keys == rows.keys, name
        assert [entry[:3] for entry in bad.entries] == [entry[:3] for entry in quarantine.entries], name
        later = raw_rows(frame[one.rows], one.schema, resolved(rows), name)
        np.testing.assert_array_equal(later[0], one.table, err_msg=name)
        alone = np.concatenate([raw_rows(frame[int(row)], one.schema, resolved(rows), name)[0] for row in one.rows[:5]])
        np.testing.assert_array_equal(alone, one.table[:5], err_msg=name)
        first = first or name


def test_stores_of_a_csv_and_a_parquet_file_are_the_same(raw: Request, tmp_path: Path) -> None:
    table = pl.read_csv(raw.table).with_columns(
        grade=pl.Series([[1.0, 2.0, 3.0, None][i % 4] for i in range(40)]),
        dx=pl.Series(["benign", "benign ", "malignant", "NA "] * 10, dtype=pl.Categorical),
        subject=pl.Series([float(i // 2) for i in range(40)]),
    )
    stores = []
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
        request = dataclasses.replace(raw, table=path, label=("grade", "dx"), group_column="subject")
        stores.append(prepare(request, tmp_path / f"store{path.suffix}"))
    one, other = stores
    assert one.schema == other.schema
    assert [label.categories for label in one.schema.labels] == [("1", "2", "3"), ("benign", "malignant")]
    for split in one.sizes:
        assert one.keys(split) == other.keys(split)
        for name in ("id", "table", "labels", "image"):
            np.testing.assert_array_equal(one.arrays(split)[name], other.arrays(split)[name])


def test_groups_and_lists_of_identifiers_meet_whole_numbers(raw: Request, tmp_path: Path) -> None:
    """Subjects written 12 and 12.0 are one, and a list of splits may write either."""
    table = pl.read_csv(raw.table).with_columns(
        ad=pl.Series([f"{i}.0" if i % 2 else str(i) for i in range(40)]),
        person=pl.Series([f"{i // 4}{'.0' if i % 3 else ''}" for i in range(40)]),
    )
    table.write_csv(raw.table)
    found, _, _ = looked(dataclasses.replace(raw, group_column="person"))
    split_of = {row: split for split, rows in found.splits.items() for row in found.rows[rows].tolist()}
    assert all(len({split_of[4 * group + one] for one in range(4)}) == 1 for group in range(10))
    assert not [text for text in found.warnings if "two splits" in text]
    lists = {"train": range(20), "val": range(20, 28), "test": range(28, 40)}
    for name, members in lists.items():
        (tmp_path / f"{name}.txt").write_text(",".join(f"{i}.0" if i % 3 else str(i) for i in members))
    paths = tuple(tmp_path / f"{name}.txt" for name in lists)
    store = prepare(dataclasses.replace(raw, split_ids=paths), tmp_path / "store")
    assert store.sizes == {"train": 20, "val": 8, "test": 12}
    assert store.keys("val") == [str(i) for i in range(20, 28)]


def test_columns_whose_names_are_patterns_are_columns_like_any_other(tmp_path: Path) -> None:
    names = ["x", "^x$", "^.*$", "*", "^", "$", "(", "[red]", "\x1b[2J"]
    for row in range(60):
        Image.fromarray(np.full((4, 4), row, np.uint8)).save(tmp_path / f"{row}.png")
    drawn = np.random.default_rng(0).integers(0, 90, (len(names), 60)) + 0.5
    table = pl.DataFrame(
        {"file": [f"{i}.png" for i in range(60)], "": [f" {i % 3}" for i in range(60)]}
        | {name: [f" {value} " for value in values] for name, values in zip(names, drawn, strict=True)}
    )
    stores: list[Store] = []
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
        request = Request(
            table=path, images=tmp_path, image_column=("file",), label=("^x$",), group_column="^.*$",
            categorical=("unnamed_2",), ignore=("*",),
        )  # fmt: skip
        stores.append(prepare(request, tmp_path / f"store{path.suffix}"))
    for store in stores:
        assert [column.name for column in store.schema.columns] == ["unnamed_2", "x", "^", "$", "(", "[red]", "\x1b[2J"]
        assert [label.name for label in store.schema.labels] == ["^x$"]
        arrays = store.arrays("train")
        np.testing.assert_array_equal(arrays["table"][:, 1:], drawn[[0, 4, 5, 6, 7, 8]].T[arrays["id"]])
        np.testing.assert_array_equal(arrays["labels"][:, 0], drawn[1][arrays["id"]])
        values, _ = raw_rows(read_table(tmp_path / "t.csv").frame, store.schema, store.declaration, "t.csv")
        np.testing.assert_array_equal(values[arrays["id"]], arrays["table"])


def test_words_match_exactly() -> None:
    assert match_words(pl.Series(["1", "1.0", "1.5", "x", None]), ["1", "x"]) == {"1": "1", "1.0": "1", "x": "x"}
