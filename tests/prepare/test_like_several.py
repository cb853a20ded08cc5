"""Later rows of several entries: columns, categories, sizes, tokens and features are those of the earlier store."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from examples.cohort import draw
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from tests.prepare.test_like import run_of
from tests.prepare.test_several import cell, entry, whole


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, Store]:
    """The raw files of a cohort with a further table, its request, and its store."""
    folder = tmp_path_factory.mktemp("cohort")
    raw = draw(folder)
    keys = pl.read_csv(folder / "people.csv")["eid"]
    n = np.arange(len(keys))
    further = {
        "who": keys, "dose": [f"{i},5" for i in n], "arm": [f"arm{i % 4}" for i in n], "site": [f"s{i % 2}" for i in n],
        "found": [("a|b", "b", "")[i % 3] for i in n],
    }  # fmt: skip
    pl.DataFrame(further).write_csv(folder / "further.csv")
    at = {"file": str(folder / "further.csv"), "key": "who"}
    said = {"decimal": ",", "columns": {"dose": {"missing": ["7,5"]}, "arm": {"kind": "categorical"}}}
    raw["entries"]["further"] = {"kind": "table", **at, "schema": said}
    raw["targets"]["site"] = {"kind": "class", **at, "column": "site"}
    raw["targets"]["found"] = {"kind": "multi-label", **at, "column": "found", "between": "|"}
    entry(raw, "disc", classes=None)
    return folder, raw, prepare(Request.from_json(raw), folder / "store")


@pytest.fixture
def later(drawn: tuple[Path, dict, Store], tmp_path: Path) -> tuple[Path, dict]:
    """The same files in another folder, the first 30 people of them, with their request."""
    folder, raw, _ = drawn
    shutil.copytree(folder, tmp_path / "raw", ignore=shutil.ignore_patterns("store"))
    raw = json.loads(json.dumps(raw).replace(str(folder), str(tmp_path / "raw")))
    people = pl.read_csv(tmp_path / "raw" / "people.csv", infer_schema=False)
    people[:30].select(reversed(people.columns)).write_csv(tmp_path / "raw" / "people.csv")
    for name, one in raw["entries"].items():
        one["required"] = name == "table"  # so that these people alone are rows
    return tmp_path / "raw", raw


def like(raw: dict, store: Path) -> Request:
    return Request.from_json({**raw, "like": store})


def test_the_values_of_the_same_files_are_the_same(drawn: tuple[Path, dict, Store], later: tuple[Path, dict]) -> None:
    """Though other rows are there, other categories, columns in another order, and further ones."""
    (_, _, store), (folder, raw) = drawn, later
    scores = pl.read_csv(folder / "pgs.tsv", separator="\t", infer_schema=False)
    scores.with_columns(more=pl.lit("text")).select(["more", *reversed(scores.columns)]).write_csv(
        folder / "pgs.tsv", separator="\t"
    )
    cell(folder, "further.csv", "arm", 2, "arm9")
    cell(folder, "further.csv", "site", 4, "s9")
    new = prepare(like(raw, store.directory), folder / "new")
    assert {name: one.columns for name, one in new.schema.entries.items()} == {
        name: one.columns for name, one in store.schema.entries.items()
    }
    for name, there in store.schema.entries.items():
        assert (new.schema.entries[name].stored, new.schema.entries[name].dtype) == (there.stored, there.dtype)
        assert new.names(name) == store.names(name)
        values, mine = whole(store, name)[0], whole(new, name)[0]
        assert set(mine) == {n for n in values if n < 30}
        if name == "further":
            assert mine.pop(2)[[one.name for one in there.columns].index("arm")] == -1  # an unknown category
        if name == "labels":
            assert np.isnan(mine.pop(4)[2])
        for n, value in mine.items():
            np.testing.assert_array_equal(value, values[n], err_msg=f"{name} {n}")
    warned = " ".join(Findings.of(new).warnings)
    assert "Column 'arm': 1 cells are categories that" in warned
    assert "Column 'site': 1 cells are classes that" in warned
    again = prepare(Request.read(new.directory / "store.json", {}), folder / "again")
    assert again.fingerprint == new.fingerprint


def test_how_cells_of_every_table_are_read_is_kept(drawn: tuple[Path, dict, Store]) -> None:
    store = drawn[2]
    said = json.loads((store.directory / "declaration.further.json").read_text())
    assert said["decimal"] == ","
    assert said["columns"]["dose"]["missing"] == ["7,5"]
    assert {path.name for path in store.directory.glob("declaration.*.json")} == {
        f"declaration.{name}.json" for name in ("further", "site", "found", "grade", "pressure", "diseases")
    }


OTHERWISE = {
    "an entry less": (lambda f, r: r["entries"].pop("pgs"), "has the entry 'pgs'; name its files with --request"),
    "an entry more": (
        lambda f, r: r["entries"].update(more=r["entries"]["pgs"]),
        "entries.more: .* has no such entry; leave it out",
    ),
    "another kind": (
        lambda f, r: r["targets"].update(pressure={**r["targets"]["pressure"], "kind": "class"}),
        "targets.pressure: the kind must be 'number'",
    ),
    "another size": (lambda f, r: entry(r, "right", size=9), "entries.right: size: --like takes this from"),
    "another type": (lambda f, r: entry(r, "pgs", dtype="float16"), "entries.pgs: dtype: --like takes this from"),
    "other categories": (
        lambda f, r: entry(r, "grade", categories=["none", "mild"]),
        "targets.grade: categories: --like takes this from",
    ),
    "a feature less": (
        lambda f, r: pl.read_csv(f / "pgs.tsv", separator="\t").drop("PGS2").write_csv(f / "pgs.tsv", separator="\t"),
        "There is no column 'PGS2' in",
    ),
    "another name of a feature": (
        lambda f, r: (f / "burdens_names.txt").write_text("a\nb\nc\nd\ne\n"),
        "entries.burdens: .*burdens.npy has no column 'GENE0', which the store of --like has",
    ),
    "a column less": (
        lambda f, r: pl.read_csv(f / "further.csv").drop("dose").write_csv(f / "further.csv"),
        "There is no column 'dose' in",
    ),
    "an unknown label in a cell": (
        lambda f, r: cell(f, "further.csv", "found", 3, "a|z"),
        "Row 4 of .*further.csv: Column 'found' holds the label 'z', which the store of --like",
    ),
    "more boxes than there": (
        lambda f, r: pl.concat([pl.read_csv(f / "boxes.csv")] * 2).write_csv(f / "boxes.csv"),
        "has 2 boxes in .*boxes.csv, but the store of --like holds 1",
    ),
    "volumes of another type": (
        lambda f, r: [np.save(path, np.load(path).view(np.uint8)[..., :6]) for path in (f / "scans").iterdir()],
        "images of 'scan' in .* are stored as float16, the new images as uint16",
    ),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_is_otherwise_is_one_sentence(
    what: str, drawn: tuple[Path, dict, Store], later: tuple[Path, dict]
) -> None:
    folder, raw = later
    spoil, sentence = OTHERWISE[what]
    entry(raw, "scan", required=None)
    spoil(folder, raw)
    with pytest.raises(UserError, match=sentence):
        prepare(like(raw, drawn[2].directory), folder / "new")
    assert not (folder / "new").exists()


def test_targets_may_be_left_out_by_the_command(
    drawn: tuple[Path, dict, Store], later: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, raw = later
    raw["targets"] = {"site": raw["targets"]["site"]}
    (folder / "later.json").write_text(json.dumps(raw))
    request = ["--request", str(folder / "later.json"), "--like", str(drawn[2].directory)]
    assert main(["prepare", *request, "--out", str(folder / "new"), "--workers", "1"]) == 0, capsys.readouterr().err
    assert [one.name for one in Store.open(folder / "new").schema.labels] == ["site"]


def test_a_run_is_like_its_store(drawn: tuple[Path, dict, Store], later: tuple[Path, dict], tmp_path: Path) -> None:
    """Also without the store; a run of an earlier version needs it where it was."""
    folder, raw = later
    moved = tmp_path / "store"
    shutil.copytree(drawn[2].directory, moved)
    run = run_of(Store.open(moved), tmp_path / "run", "token")
    new = prepare(like(raw, run), folder / "new")
    assert new.fingerprint == prepare(like(raw, drawn[2].directory), folder / "other").fingerprint
    shutil.rmtree(moved)
    assert prepare(like(raw, run), folder / "alone").fingerprint == new.fingerprint
    shutil.rmtree(run / "like")
    (run / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"the store .* of the run .* is gone; name its new folder with --like STORE"):
        prepare(like(raw, run), folder / "again")
