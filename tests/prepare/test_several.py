"""Entries of several files, joined by key: every value arrives, what is missing is known, what is wrong is named."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from examples.cohort import PEOPLE, SIZE, draw, request
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.entries import matrix
from mmcl_jax.prepare.images import decode
from mmcl_jax.prepare.make import prepare, preview
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source

MISSING = {
    "right": (10, 9),
    "pgs": (4, 3),
    "burdens": (5, 4),
    "snps": (11, 10),
    "report": (7, 6),
}  # n % first == second


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, Store]:
    """The raw files, the request and the store of the whole cohort."""
    folder = tmp_path_factory.mktemp("cohort")
    raw = draw(folder)
    return folder, raw, prepare(Request.from_json(raw), folder / "store")


@pytest.fixture
def cohort(made: tuple[Path, dict, Store], tmp_path: Path) -> tuple[Path, dict]:
    """A copy of the raw files, to be spoilt, and their request."""
    folder, raw, _ = made
    shutil.copytree(folder, tmp_path / "raw", ignore=shutil.ignore_patterns("store"))
    return tmp_path / "raw", json.loads(json.dumps(raw).replace(str(folder), str(tmp_path / "raw")))


def write_request(folder: Path, request: dict) -> Path:
    """Write a request as the file that `--request` takes."""
    path = folder / "cohort.json"
    path.write_text(json.dumps(request))
    return path


def only(raw: dict, *names: str) -> dict:
    """The request of some of the entries and targets alone."""
    chosen = {key: {name: one for name, one in raw[key].items() if name in names} for key in ("entries", "targets")}
    return {**raw, **chosen}


def whole(store: Store, name: str) -> tuple[dict[int, np.ndarray], set[int]]:
    """The values of an entry by person, and who lacks it."""
    values, absent = {}, set()
    for split in store.sizes:
        rows = store.read(split, [name])[name]
        for row, key in enumerate(store.keys(split)):
            if rows.present is None or rows.present[row]:
                values[int(key) - 1000] = np.asarray(rows[row])
            else:
                absent.add(int(key) - 1000)
    return values, absent


def test_every_row_has_the_values_of_its_files(made: tuple[Path, dict, Store]) -> None:
    folder, _, store = made
    for name in store.schema.entries:
        values, absent = whole(store, name)
        every, rest = MISSING.get(name, (PEOPLE + 1, PEOPLE))
        assert absent == {n for n in range(PEOPLE) if n % every == rest}, name
        assert store.schema.entries[name].optional == bool(absent)
        assert len(values) + len(absent) == PEOPLE
    scores = pl.read_csv(folder / "pgs.tsv", separator="\t")
    names = dict(enumerate((folder / "burdens_iid.txt").read_text().split()))
    burdens = {int(name) - 1000: row for row, name in names.items()}
    outcomes = pl.read_csv(folder / "outcomes.csv")
    read = {name: whole(store, name)[0] for name in store.schema.entries}
    for n in range(PEOPLE):
        np.testing.assert_array_equal(read["image"][n], Image.open(folder / "left" / f"{1000 + n}_0.png"))
        np.testing.assert_array_equal(
            read["scan"][n][..., 0], np.load(folder / "scans" / f"{1000 + n}.npy").astype("f2")
        )
        if n in read["right"]:
            np.testing.assert_array_equal(read["right"][n][..., 0], Image.open(folder / "right" / f"{1000 + n}_1.png"))
        if n in read["pgs"]:
            (row,) = scores.filter(pl.col("IID") == 1000 + n).drop("IID").rows()
            np.testing.assert_array_equal(read["pgs"][n], np.array(row, np.float32))
        if n in read["burdens"]:
            np.testing.assert_array_equal(read["burdens"][n], np.load(folder / "burdens.npy")[burdens[n]])
        np.testing.assert_array_equal(read["disc"][n][..., 0] * 255, Image.open(folder / "discs" / f"{1000 + n}.png"))
        grade = ["none", "mild", "severe"].index(outcomes["grade"][n])
        assert read["labels"][n].tolist() == [grade, outcomes["pressure"][n]]
        assert read["diseases"][n].tolist() == [outcomes["edema"][n], outcomes["cataract"][n]]
        box = [1, 2, 3 + n % 8, 9, n % 2] if n % 3 else [np.nan] * 5
        np.testing.assert_array_equal(read["lesions"][n], [box])
    assert store.names("pgs") == tuple(f"PGS{i}" for i in range(6))
    assert store.names("burdens") == tuple(f"GENE{i}" for i in range(5))


def test_targets_have_their_kinds(made: tuple[Path, dict, Store]) -> None:
    schema = made[2].schema
    assert [(column.name, column.kind) for column in schema.labels] == [
        ("grade", "ordinal"),
        ("pressure", "continuous"),
    ]
    assert schema.labels[0].categories == ("none", "mild", "severe")
    assert [column.kind for column in schema.entries["diseases"].columns] == ["boolean", "boolean"]
    disc, lesions = schema.entries["disc"], schema.entries["lesions"]
    assert (disc.kind, disc.role, disc.of, disc.columns[0].categories) == (
        "image",
        "target",
        "image",
        ("background", "disc"),
    )
    assert (lesions.kind, lesions.role, lesions.of) == ("boxes", "target", "image")
    assert lesions.columns[0].categories == ("bleeding", "spot")


def test_tokens_are_those_of_the_text(made: tuple[Path, dict, Store]) -> None:
    folder, _, store = made
    tokens, _ = whole(store, "report")
    vocabulary = store.names("report")
    for study, text in pl.read_csv(folder / "reports.csv").rows():
        pairs = [(vocabulary[token], sentence) for token, sentence in tokens[study - 1000] if token >= 0]
        sentences = ["".join(piece for piece, place in pairs if place == number) for number in (0, 1)]
        assert [one.replace("▁", " ").strip() for one in sentences] == re.split(r"(?<=\.) ", text)
    assert (store.directory / "tokenizer.report.json").is_file()


def test_a_vocabulary_is_fitted_on_training_rows_alone(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    texts = pl.read_csv(folder / "reports.csv", schema_overrides={"study": pl.String})
    store = prepare(Request.from_json(only(raw, "image", "report")), folder / "one")
    train = set(store.keys("train"))
    marked = [f"{text} ж" if study not in train else f"{text} ω" for study, text in texts.rows()]
    texts.with_columns(findings=pl.Series(marked)).write_csv(folder / "reports.csv")
    again = prepare(Request.from_json(only(raw, "image", "report")), folder / "two")
    assert again.keys("train") == store.keys("train")
    assert "ω" in again.names("report")
    assert "ж" not in again.names("report")


@pytest.mark.parametrize(("cohort_of", "required"), [("inner", False), ("outer", True), ("outer", False)])
def test_the_cohort_decides_which_rows_are_kept(cohort: tuple[Path, dict], cohort_of: str, required: bool) -> None:
    folder, raw = cohort
    raw = {**only(raw, "image", "pgs", "burdens", "report"), "cohort": cohort_of}
    raw["entries"]["pgs"]["required"] = required
    store = prepare(Request.from_json(raw), folder / "store")
    lacks = {name: {n for n in range(PEOPLE) if n % MISSING[name][0] == MISSING[name][1]} for name in MISSING}
    left_out = set.union(*(lacks[name] for name in ("pgs", "burdens", "report")))
    left_out = left_out if cohort_of == "inner" else lacks["pgs"] if required else set()
    kept = {int(key) - 1000 for split in store.sizes for key in store.keys(split)}
    assert kept == set(range(PEOPLE)) - left_out
    entries = {entry["name"]: entry for entry in Findings.of(store).entries}
    for name in ("pgs", "burdens", "report"):
        assert entries[name]["missing"] == len(lacks[name] & kept)
        assert store.schema.entries[name].optional == bool(lacks[name] & kept)
    listed = [json.loads(line) for line in (store.directory / "quarantine.jsonl").read_text().splitlines()]
    assert len(listed) == len(left_out)
    assert all("has no '" in one["reason"] for one in listed)


def test_rows_that_only_some_entries_have(cohort: tuple[Path, dict], capsys: pytest.CaptureFixture[str]) -> None:
    """Keys that the main table lacks are rows, too; those that only a target has are none, and are named."""
    folder, raw = cohort
    people, outcomes = (pl.read_csv(folder / name) for name in ("people.csv", "outcomes.csv"))
    people.filter(pl.col("eid") >= 1010).write_csv(folder / "people.csv")
    stranger = outcomes[:1].with_columns(subject=pl.lit(7777, pl.Int64))
    outcomes.vstack(stranger).write_csv(folder / "outcomes.csv")
    path = write_request(folder, only(raw, "table", "pgs", "grade"))
    assert main(["prepare", "--request", str(path), "--out", str(folder / "store"), "--workers", "1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 keys of 'grade' are of no row, and not used: '1003', '1007', '7777'." in printed
    assert "table: table 3 float64, missing in 8 rows" in printed  # 1003 and 1007 have no scores either
    store = Store.open(folder / "store")
    table, absent = whole(store, "table")
    assert absent == {0, 1, 2, 4, 5, 6, 8, 9}
    np.testing.assert_array_equal(table[11][0], people["age"][11])
    assert whole(store, "labels")[0][4][0] == 2  # a row that is in no table has its label


def test_one_table_and_one_folder_are_a_request_of_two_entries(raw: Request, tmp_path: Path) -> None:
    simple = prepare(raw, tmp_path / "simple")
    files = {"file": raw.table, "key": "ad"}
    entries = {
        "image": {"kind": "image", **files, "folder": raw.images, "column": "file"},
        "table": {"kind": "table", **files, "schema": {"columns": {"model": {"role": "ignore"}}}},
    }
    targets = {"model": {"kind": "class", **files, "column": "model"}}
    several = prepare(
        Request.from_json({"entries": entries, "targets": targets, "split": raw.split}), tmp_path / "several"
    )
    assert several.schema == simple.schema
    for split in simple.sizes:
        assert several.keys(split) == simple.keys(split)
        for name, array in simple.arrays(split).items():
            np.testing.assert_array_equal(np.asarray(several.arrays(split)[name]), np.asarray(array))


def test_two_entries_of_pictures_alone(cohort: tuple[Path, dict]) -> None:
    """No table at all: keys are in names of files."""
    folder, raw = cohort
    store = prepare(Request.from_json(only(raw, "image", "right")), folder / "store")
    assert list(store.schema.entries) == ["image", "right"]
    assert sum(store.sizes.values()) == PEOPLE
    assert len(whole(store, "right")[1]) == PEOPLE // 10


def test_the_same_request_gives_the_same_store(made: tuple[Path, dict, Store], tmp_path: Path) -> None:
    """The request that a store keeps, and one made of `Source` objects."""
    _, raw, store = made
    kept = Request.read(store.directory / "store.json", {})
    assert prepare(kept, tmp_path / "again").fingerprint == store.fingerprint
    plain = Request.from_json(raw)
    assert all(isinstance(source, Source) for source in plain.entries.values())
    assert Request(**{**vars(plain), "entries": dict(plain.entries)}) == plain == kept


def test_a_stopped_build_continues_behind_the_entries_that_are_decoded(
    made: tuple[Path, dict, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, raw, store = made
    read: list[str] = []
    decode_chunk = decode.decode_chunk

    def watched(job, *arguments):
        read.append(job.root.rsplit("/", 1)[1])
        if read.count("scans") and stop:
            raise KeyboardInterrupt
        return decode_chunk(job, *arguments)

    monkeypatch.setattr(decode, "decode_chunk", watched)
    stop = True
    with pytest.raises(KeyboardInterrupt):
        prepare(Request.from_json(raw), tmp_path / "store")
    assert read == ["left", "right", "scans"]
    assert not (tmp_path / "store").exists()
    read.clear()
    stop = False
    assert prepare(Request.from_json(raw), tmp_path / "store").fingerprint == store.fingerprint
    assert read == ["scans", "discs"]


def test_a_look_decodes_nothing(made: tuple[Path, dict, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "decode_chunk", None)
    findings, _ = preview(Request.from_json(made[1]))
    assert findings.kept == PEOPLE
    assert set(findings.labels) == {"grade"}


def test_the_card_shows_every_entry_and_escapes_texts(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    texts = pl.read_csv(folder / "reports.csv")
    texts.with_columns(findings=pl.lit("<script>alert(1)</script> heart.")).write_csv(folder / "reports.csv")
    raw["entries"]["report"]["show_text"] = True
    store = prepare(Request.from_json(raw), folder / "store")
    page = (store.directory / "card.html").read_text()
    for name in store.schema.entries:
        assert f'<bdi class="name">{name}</bdi>' in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; heart." in page
    assert "10 (25 %)" in page  # rows without scores
    assert page.count("data:image/png;base64") >= 4 * 12
    values = next(entry["values"] for entry in Findings.of(store).entries if entry["name"] == "pgs")
    train = np.stack([np.asarray(row) for row in store.read("train", ["pgs"])["pgs"][:]])
    assert values["mean"] == pytest.approx(np.nanmean(train, dtype=np.float64))


def matrix_forms(folder: Path) -> dict[str, dict]:
    """The same matrix in every form, as sources."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    values, keys = rng.normal(size=(PEOPLE, 3)), [f"{1000 + n}" for n in range(PEOPLE)]
    values[5, 1] = np.nan
    table = pl.DataFrame({"IID": keys, **{f"g{i}": values[:, i] for i in range(3)}})
    table = table.with_columns(pl.col("g1").fill_nan(None))
    table.write_csv(folder / "m.csv")
    table.write_csv(folder / "m.tsv", separator="\t", null_value="NA")
    table.write_parquet(folder / "m.parquet")
    np.save(folder / "m.npy", values)
    with h5py.File(folder / "m.h5", "w") as file:
        file["scores/G"] = values
    (folder / "m_keys.txt").write_text("\n".join(keys) + "\n")
    (folder / "m_names.txt").write_text("g0\ng1\ng2\n")
    beside = {"keys": str(folder / "m_keys.txt"), "names": str(folder / "m_names.txt")}
    return {
        "csv": {"file": str(folder / "m.csv"), "key": "IID"},
        "tsv": {"file": str(folder / "m.tsv"), "key": "IID"},
        "parquet": {"file": str(folder / "m.parquet"), "key": "IID"},
        "npy": {"file": str(folder / "m.npy"), **beside},
        "h5": {"file": str(folder / "m.h5"), "dataset": "scores/G", **beside},
    }


def test_a_matrix_has_the_same_values_in_every_form(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    forms = matrix_forms(folder)
    entries = {name: {"kind": "vector", **form} for name, form in forms.items()}
    entries |= {f"{name}_half": {"kind": "vector", "dtype": "float16", **form} for name, form in forms.items()}
    store = prepare(Request.from_json({**raw, "entries": entries, "targets": {}}), folder / "store")
    values = np.load(folder / "m.npy")
    for name in entries:
        assert store.names(name) == ("g0", "g1", "g2")
        read, absent = whole(store, name)
        assert not absent
        for n in range(PEOPLE):
            np.testing.assert_array_equal(read[n], values[n].astype("f2" if name.endswith("half") else "f4"))


Spoil = Callable[[Path, dict], object]


def entry(raw: dict, name: str, **more: object) -> None:
    """Say something else of an entry or target; None takes a key away."""
    one = raw["entries" if name in raw["entries"] else "targets"][name]
    one.update(more)
    for key in [key for key, value in one.items() if value is None]:
        del one[key]


def cell(folder: Path, file: str, column: str, row: int, value: str | None) -> None:
    """Put a text into a cell of a table."""
    table = pl.read_csv(folder / file, separator="\t" if file.endswith("tsv") else ",", infer_schema=False)
    changed = table[column].to_list()
    changed[row] = value
    table = table.with_columns(pl.Series(column, changed, dtype=pl.String))
    table.write_csv(folder / file, separator="\t" if file.endswith("tsv") else ",")


def picture(folder: Path, file: str, values: np.ndarray) -> None:
    Image.fromarray(values).save(folder / file)


BAD: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "unknown kind": (lambda f, r: entry(r, "pgs", kind="genes"), ("entries.pgs", "'genes'", "vector")),
    "no kind": (lambda f, r: entry(r, "pgs", kind=None), ("entries.pgs has no kind",)),
    "a target among entries": (
        lambda f, r: entry(r, "pgs", kind="mask"),
        ("entries.pgs", "'mask' belongs in 'targets'"),
    ),
    "unknown key": (lambda f, r: r.update(colour=1), ("cohort.json", "unknown key 'colour'")),
    "unknown key of an entry": (lambda f, r: entry(r, "pgs", colour=1), ("entries.pgs", "vector has no key 'colour'")),
    "unknown cohort": (
        lambda f, r: r.update(cohort="both"),
        ("cohort.json: cohort", "one of outer, inner, not 'both'"),
    ),
    "a key of the wrong type": (lambda f, r: entry(r, "image", size="big"), ("entries.image: size", "'big'")),
    "no genotypes": (
        lambda f, r: entry(r, "pgs", kind="genotypes", key=None, file="a.bed"),
        ("entries.pgs", "the file a.bed does not exist"),
    ),
    "two files for one entry": (
        lambda f, r: entry(r, "image", column="a"),
        ("entries.image", "either files", "or column"),
    ),
    "no file": (lambda f, r: entry(r, "pgs", file=str(f / "no.tsv")), ("no.tsv does not exist",)),
    "no key column": (lambda f, r: entry(r, "pgs", key="who"), ("no column 'who'", "pgs.tsv")),
    "key not said": (
        lambda f, r: (r.pop("key_column"), entry(r, "pgs", key=None)),
        ("people.csv", "name the key column", "key_column"),
    ),
    "rows do not join": (
        lambda f, r: entry(r, "pgs", key="PGS0"),
        ("entries.pgs: none of its 30 keys", "is a key of another entry", "'1000'", "check which column is the key"),
    ),
    "no such files": (
        lambda f, r: entry(r, "right", files="{key}.tif"),
        ("entries.right", "no file in", "like {key}.tif"),
    ),
    "two files of a key": (
        lambda f, r: (
            picture(f, "right/1000_1_1.png", np.zeros((2, 2), np.uint8)),
            entry(r, "right", files="{key}_*.png"),
        ),
        ("entries.right", "two files of the key '1000'", "1000_1.png and 1000_1_1.png"),
    ),
    "mask of another size": (
        lambda f, r: picture(f, "discs/1003.png", np.zeros((SIZE, SIZE + 1), np.uint8)),
        ("mask 'disc' of '1003'", "1003.png", "16 x 17", "16 x 16"),
    ),
    "mask of other classes": (
        lambda f, r: entry(r, "disc", classes={"no": 0, "yes": 1}),
        ("1000.png has the value 255, which is none of its classes",),
    ),
    "mask of no image": (
        lambda f, r: entry(r, "disc", of="eye"),
        ("targets.disc", "no image 'eye'", "image, right, scan"),
    ),
    "box outside": (
        lambda f, r: cell(f, "boxes.csv", "x1", 1, "17"),
        ("Row 2 of", "boxes.csv", "1, 2, 17, 9 lies outside of its image, which is 16 wide and 16 high"),
    ),
    "empty box": (lambda f, r: cell(f, "boxes.csv", "x1", 1, "1"), ("Row 2 of", "boxes.csv", "is empty", "x1")),
    "box of no number": (lambda f, r: cell(f, "boxes.csv", "y0", 1, "a"), ("Row 2 of", "'y0' holds no number")),
    "names of another number": (
        lambda f, r: (f / "burdens_names.txt").write_text("a\nb\n"),
        ("entries.burdens", "burdens_names.txt has 2 names and", "burdens.npy has 5 columns"),
    ),
    "keys of another number": (
        lambda f, r: (f / "burdens_iid.txt").write_text("1000\n"),
        ("entries.burdens", "burdens_iid.txt has 1 keys and", "32 rows"),
    ),
    "a vector that is no number": (
        lambda f, r: cell(f, "pgs.tsv", "PGS3", 4, "high"),
        ("Row 5 of", "pgs.tsv", "column 'PGS3' holds 'high'", "1005"),
    ),
    "a number beyond its type": (
        lambda f, r: (entry(r, "pgs", dtype="float16"), cell(f, "pgs.tsv", "PGS3", 4, "70000")),
        ("Row 5 of", "pgs.tsv", "column 'PGS3' holds 70000, which float16 does not hold"),
    ),
    "a fraction in int8": (
        lambda f, r: entry(r, "pgs", dtype="int8"),
        ("Row 1 of", "pgs.tsv", "which int8 does not hold"),
    ),
    "a bad cell of a target": (
        lambda f, r: cell(f, "outcomes.csv", "pressure", 6, "high"),
        ("Row 7 of", "outcomes.csv", "'pressure' holds 'high'"),
    ),
    "an unknown category": (
        lambda f, r: cell(f, "outcomes.csv", "grade", 6, "awful"),
        ("Row 7 of", "outcomes.csv", "'grade' holds 'awful'"),
    ),
    "an order that nobody knows": (
        lambda f, r: entry(r, "grade", categories=None),
        ("targets.grade", "'grade' are no numbers", "categories, lowest first"),
    ),
    "a key twice": (
        lambda f, r: cell(f, "pgs.tsv", "IID", 4, "1000.0"),
        ("Row 5 of", "pgs.tsv", "Its key '1000' is also that of row 1", "--max-bad"),
    ),
    "no key": (lambda f, r: cell(f, "pgs.tsv", "IID", 4, ""), ("Row 5 of", "pgs.tsv", "key is empty")),
    "no unknown token": (
        lambda f, r: ((f / "vocab.txt").write_text("a\nb\n"), entry(r, "report", vocabulary=str(f / "vocab.txt"))),
        ("entries.report", "vocab.txt has no token [UNK]"),
    ),
    "a token beyond the vocabulary": (
        lambda f, r: (
            (f / "tokenizer.json").write_text(
                json.dumps(
                    {
                        "version": "1.0",
                        "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "heart": 9}},
                    }
                )
            ),
            entry(r, "report", vocabulary=str(f / "tokenizer.json")),
        ),
        ("entries.report", "tokenizer.json gives 'heart' the number 9, beyond its 2 tokens"),
    ),
    "a broken picture": (
        lambda f, r: (f / "right" / "1002_1.png").write_bytes(b"no picture"),
        ("1002_1.png cannot be read", "--max-bad"),
    ),
    "a volume of another size": (
        lambda f, r: np.save(f / "scans" / "1004.npy", np.zeros((4, 6, 6), np.float32)),
        ("different sizes", "4 x 6 x 6", '"size": [32, 64, 64] in entries.scan'),
    ),
    "a pattern that leaves the folder": (
        lambda f, r: entry(r, "right", files="../right/{key}_1.png"),
        ("entries.right", "stay in it"),
    ),
    "a pattern that is absolute": (
        lambda f, r: entry(r, "right", files=f"{f}/right/{{key}}_1.png"),
        ("entries.right", "stay in it"),
    ),
    "an entry of empty cells": (
        lambda f, r: pl.DataFrame({"study": [1000], "findings": [" "]}).write_csv(f / "reports.csv"),
        ("entries.report: none of its rows has both a key and a value",),
    ),
    "an entry twice in the file": (
        lambda f, r: r.update(seed=1),
        ("cohort.json is not JSON", "the key 'seed' is twice in one object"),
    ),
    "two entries of one name": (
        lambda f, r: r["targets"].update(pgs=r["targets"]["grade"]),
        ("two entries are called 'pgs'",),
    ),
    "names that differ in case": (
        lambda f, r: r["entries"].update(PGS=r["entries"]["pgs"]),
        ("the entries 'pgs' and 'PGS' differ in case alone", "rename one"),
    ),
    "a name of the simple command line in another case": (
        lambda f, r: r["targets"].update(Image=r["targets"]["grade"]),
        ("the entries 'image' and 'Image' differ in case alone",),
    ),
    "a list in place of a request": (
        lambda f, r: r.update(request=[1]),
        ("cohort.json: request must be an object, not a list",),
    ),
    "a mask that is a JPEG": (
        lambda f, r: (
            Image.open(f / "discs/1000.png").save(f / "discs/1000.png", "JPEG"),
            entry(r, "disc", classes=None),
        ),
        ("discs/1000.png is a JPEG", "export it as PNG"),
    ),
    "keys with leading zeros": (
        lambda f, r: [cell(f, "pgs.tsv", "IID", row, f"00{row}") for row in range(30)],
        ("entries.pgs: none of its 30 keys", "how keys are written"),
    ),
    "a matrix without rows": (
        lambda f, r: (f / "pgs.tsv").write_text("IID\tPGS0\n"),
        ("pgs.tsv has a header but no rows",),
    ),
    "an empty file": (lambda f, r: (f / "pgs.tsv").write_text(""), ("pgs.tsv is empty",)),
    "an empty Parquet file": (
        lambda f, r: ((f / "p.parquet").write_bytes(b""), entry(r, "pgs", file=str(f / "p.parquet"))),
        ("p.parquet cannot be read",),
    ),
    "a Parquet file without a feature": (
        lambda f, r: (
            pl.DataFrame({"IID": [1000], "n": [[1, 2]]}).write_parquet(f / "p.parquet"),
            entry(r, "pgs", file=str(f / "p.parquet")),
        ),
        ("entries.pgs: column 'n' of", "p.parquet is of the type List(Int64)", "with ignore"),
    ),
    "an infinite number": (
        lambda f, r: cell(f, "pgs.tsv", "PGS3", 4, "inf"),
        ("Row 5 of", "'PGS3' holds inf, which float32 does not hold"),
    ),
    "a number that is none": (lambda f, r: r.update(max_bad=float("nan")), ("cohort.json: max_bad must be a finite",)),
    "a list in place of entries": (
        lambda f, r: r.update(entries=[1]),
        ("entries must be an object of names, not a list",),
    ),
    "a name of the batch": (
        lambda f, r: r["entries"].update(id=r["entries"]["pgs"]),
        ("the name 'id' is reserved",),
    ),
    "a name that leaves the folder": (
        lambda f, r: r["entries"].update({"../x": r["entries"]["pgs"]}),
        ("'../x' cannot name an entry",),
    ),
    "a name that is none": (
        lambda f, r: r["entries"].update({"a b": r["entries"]["pgs"]}),
        ("'a b' cannot name an entry",),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_left(
    what: str, cohort: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, raw = cohort
    raw = copy.deepcopy(raw)
    spoil, words = BAD[what]
    spoil(folder, raw)
    path = write_request(folder, raw)
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 1, "seed": 2'))
    there = sorted(folder.iterdir())
    assert main(["prepare", "--request", str(path), "--out", str(folder / "store"), "--workers", "1"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    for word in words:
        assert word in error
    assert sorted(folder.iterdir()) == [*there, folder / ".store.partial.lock"] or sorted(folder.iterdir()) == there


@pytest.mark.parametrize("cohort_of", ["outer", "inner"])
def test_what_is_bad_in_one_entry(cohort_of: str, cohort: tuple[Path, dict]) -> None:
    """One bad value of each sort: in an outer cohort the row lacks that entry alone, in an inner one it is left out."""
    folder, raw = cohort
    cell(folder, "pgs.tsv", "IID", 4, "1000.0")
    cell(folder, "pgs.tsv", "PGS3", 12, "high")
    cell(folder, "people.csv", "age", 4, "old")
    cell(folder, "boxes.csv", "x1", 1, "17")
    cell(folder, "outcomes.csv", "pressure", 6, "high")
    (folder / "left" / "1020_0.png").write_bytes(b"no picture")
    (folder / "right" / "1008_1.png").write_bytes(b"no picture")
    np.save(folder / "scans" / "1024.npy", np.array(["no", "numbers"]))
    entry(raw, "image", required=None)
    store = prepare(Request.from_json({**raw, "max_bad": 0.2, "cohort": cohort_of}), folder / "store")
    listed = [json.loads(line) for line in (store.directory / "quarantine.jsonl").read_text().splitlines()]
    scores = pl.read_csv(folder / "pgs.tsv", separator="\t", infer_schema=False)
    spoilt = {
        "table": (4, "unparsable cell"),
        "image": (20, "broken image"),
        "right": (8, "broken image"),
        "scan": (24, "broken image"),
        "pgs": (int(float(scores["IID"][12])) - 1000, "wrong number"),
        "pressure": (6, "unparsable cell"),
        "lesions": (int(pl.read_csv(folder / "boxes.csv")["image"][1]) - 1000, "wrong box"),
    }  # fmt: skip
    lacks = {name: {n for n in range(PEOPLE) if n % every == rest} for name, (every, rest) in MISSING.items()}
    lacks["pgs"].add(5)  # whose row has the key of another
    left_out = set.union(*lacks.values()) if cohort_of == "inner" else set()
    assert ("duplicate identifier", "pgs.tsv", 5) in {
        (one["cause"], Path(one["file"]).name, one["row"]) for one in listed
    }
    named = {(one["entry"], one["row"] - 1, one["cause"]) for one in listed if one["entry"]}
    every_one = {(name, n, cause) for name, (n, cause) in spoilt.items()}
    assert {one for one in every_one if one[1] not in left_out} <= named <= every_one
    left_out |= {n for _, n, _ in named} if cohort_of == "inner" else set()
    kept = {int(key) - 1000 for split in store.sizes for key in store.keys(split)}
    assert kept == set(range(PEOPLE)) - left_out
    entries = {one["name"]: one for one in Findings.of(store).entries}
    for name, (n, cause) in spoilt.items():
        if name == "pressure":
            assert np.isnan(whole(store, "labels")[0][n][1]) if n in kept else cohort_of == "inner"
            assert entries["labels"]["bad"] == ({"unparsable cell": 1} if n in kept else {})
            continue
        absent = lacks.get(name, set()) | ({n, 20} if name == "lesions" else {n})  # 20 has no image
        assert whole(store, name)[1] == absent & kept, name
        assert list(entries[name]["bad"].values()) == ([1] if n in kept else [])
        assert (name, n, cause) in named or cohort_of == "inner"
    if cohort_of == "outer":
        assert 20 in whole(store, "disc")[1]  # the mask of an image that is broken
        page = (store.directory / "card.html").read_text()
        assert "bad: wrong number 1" in page


@pytest.mark.parametrize("cohort_of", ["outer", "inner"])
def test_the_allowance_holds_for_every_entry(cohort_of: str, cohort: tuple[Path, dict]) -> None:
    """One of the few scans is broken: that is much of them, and little of the rows."""
    folder, raw = cohort
    for n in range(4, PEOPLE):
        (folder / "scans" / f"{1000 + n}.npy").unlink()
    np.save(folder / "scans" / "1002.npy", np.array(["no", "numbers"]))
    request = Request.from_json({**only(raw, "table", "scan"), "cohort": cohort_of, "max_bad": 0.2})
    with pytest.raises(UserError, match=r"1002.npy .* In 1 of the 4 rows that have it, 'scan' cannot be used, .* 0.2"):
        prepare(request, folder / "store")


def test_a_row_of_which_no_entry_is_left_is_left_out_and_counted(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    (folder / "left" / "1003_0.png").write_bytes(b"no picture")  # 1003 has no scores
    entry(raw, "image", required=None)
    store = prepare(Request.from_json({**only(raw, "image", "pgs", "grade"), "max_bad": 0.1}), folder / "store")
    assert "1003" not in [key for split in store.sizes for key in store.keys(split)]
    assert Findings.of(store).lost == {"no entry left": 1}
    listed = [json.loads(line) for line in (store.directory / "quarantine.jsonl").read_text().splitlines()]
    assert [(one["cause"], one["entry"]) for one in listed] == [("no entry left", ""), ("broken image", "image")]


@pytest.mark.parametrize("types", [pl.Float32, pl.Int16, pl.String])
def test_pieces_of_a_matrix_are_the_whole(types: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order of rows and columns, from every form; no piece is larger than asked, but of texts."""
    monkeypatch.setattr(matrix, "_CHUNK_BYTES", 8 * 3 * 5)
    rng = np.random.default_rng(0)
    keys, values = rng.permutation(np.arange(1000, 1040)), rng.integers(0, 99, (PEOPLE, 3))
    columns = {"IID": pl.Series(keys), **{f"^g{i}.*$": pl.Series(values[:, i]).cast(types) for i in range(3)}}
    pl.DataFrame(columns).write_parquet(tmp_path / "m.parquet", row_group_size=7)
    heights: list[int] = []
    collect = pl.LazyFrame.collect
    monkeypatch.setattr(
        pl.LazyFrame, "collect", lambda self, **more: (made := collect(self, **more), heights.append(made.shape))[0]
    )
    source = {"kind": "vector", "file": str(tmp_path / "m.parquet"), "key": "IID"}
    store = prepare(Request.from_json({"entries": {"m": source}}), tmp_path / "store")
    read, _ = whole(store, "m")
    for key, row in zip(keys, values, strict=True):
        np.testing.assert_array_equal(read[key - 1000], row)
    wide = [rows for rows, width in heights if width > 1]
    assert (max(wide) <= 5) == (types != pl.String)


def test_a_request_that_is_wrong_in_python(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"entries.a: the matrix x.txt must end in .csv"):
        Request(entries={"a": {"kind": "vector", "file": "x.txt"}})  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"x.npy has no key column; name a text file of its rows' keys"):
        Request(entries={"a": Source(kind="vector", file=Path("x.npy"))})


def test_the_request_in_the_documentation_is_that_of_the_example(made: tuple[Path, dict, Store]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text().split("## Several entries")[1]
    said = json.loads(text.split("```json")[1].split("```")[0])
    assert said == request(Path("raw"))


def test_classes_of_masks_that_are_not_said_are_the_values_that_are_met(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    entry(raw, "disc", classes=None)
    store = prepare(Request.from_json(only(raw, "image", "disc")), folder / "store")
    assert store.schema.entries["disc"].columns[0].categories == ("0", "255")
    for n, mask in whole(store, "disc")[0].items():
        np.testing.assert_array_equal(mask[..., 0] * 255, Image.open(folder / "discs" / f"{1000 + n}.png"))


def test_a_target_is_no_feature_of_another_entry_of_its_file(cohort: tuple[Path, dict]) -> None:
    """Neither of the main table, nor of a further one, nor of a vector."""
    folder, raw = cohort
    outcomes = {"file": str(folder / "outcomes.csv"), "key": "subject"}
    for entries in (
        {"main": {"kind": "table", **outcomes}},
        {"table": raw["entries"]["table"], "further": {"kind": "table", **outcomes}},
    ):
        store = prepare(Request.from_json({**raw, "entries": entries, "targets": {
            "diseases": raw["targets"]["diseases"], "pressure": raw["targets"]["pressure"]
        }}), folder / f"store{len(entries)}")  # fmt: skip
        (name,) = {"main", "further"} & set(store.schema.entries)
        assert [column.name for column in store.schema.entries[name].columns] == ["grade"]
    numbers = {"kind": "vector", **outcomes, "ignore": ["grade"]}
    raw = {**raw, "entries": {"numbers": numbers}, "targets": {"diseases": raw["targets"]["diseases"]}}
    assert prepare(Request.from_json(raw), folder / "vector").names("numbers") == ("pressure",)


def test_the_simple_command_with_one_more_entry(raw: Request, tmp_path: Path) -> None:
    """The table and images at the top of a request go with further entries, and lose nothing by it."""
    simple = prepare(raw, tmp_path / "simple")
    scores = pl.DataFrame({"who": [f"ad{n}" for n in range(0, 40, 2)], "a": np.arange(20.0), "b": np.arange(20.0) % 3})
    scores.write_csv(tmp_path / "scores.csv")
    more = {"scores": {"kind": "vector", "file": tmp_path / "scores.csv", "key": "who"}}
    store = prepare(Request(**{**vars(raw), "entries": more}), tmp_path / "more")
    assert list(store.schema.entries) == ["image", "table", "scores", "labels"]
    for split in simple.sizes:
        assert store.keys(split) == simple.keys(split)
        for name, array in simple.arrays(split).items():
            np.testing.assert_array_equal(np.asarray(store.arrays(split)[name]), np.asarray(array))
        rows = store.read(split, ["scores"])["scores"]
        for row, key in enumerate(store.keys(split)):
            number = int(key.removeprefix("ad"))
            assert rows.present[row] == (number % 2 == 0)
            assert number % 2 or rows[row][0] == number / 2


def test_several_pictures_of_a_row_in_further_entries(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    names = {"eid": range(1000, 1040), "a": [f"{n}_0.png" for n in range(1000, 1040)]}
    names["b"] = [None if n % 8 == 7 else f"{1000 + (n + 1) % PEOPLE}_0.png" for n in range(PEOPLE)]
    names["a"] = [None if n % 8 == 7 else name for n, name in enumerate(names["a"])]
    pl.DataFrame(names).write_csv(folder / "pairs.csv")
    pair = {"kind": "image", "folder": str(folder / "left"), "file": str(folder / "pairs.csv"), "column": ["a", "b"]}
    entries = {**only(raw, "table")["entries"], "pair": {**pair, "stack": "views"}, "deep": pair}
    store = prepare(Request.from_json({**raw, "entries": entries, "targets": {}}), folder / "store")
    assert (store.schema.entries["pair"].pictures, store.schema.entries["deep"].shape) == (2, (SIZE, SIZE, 6))
    views, absent = whole(store, "pair")
    assert absent == set(range(7, PEOPLE, 8))
    for n, pictures in views.items():
        for picture, other in zip(pictures, (n, (n + 1) % PEOPLE), strict=True):
            np.testing.assert_array_equal(picture, Image.open(folder / "left" / f"{1000 + other}_0.png"))
        np.testing.assert_array_equal(np.concatenate(list(pictures), axis=-1), whole(store, "deep")[0][n])


def test_labels_in_one_column(cohort: tuple[Path, dict]) -> None:
    folder, raw = cohort
    cells = ["", "|", "edema| effusion", "fracture|edema"]
    findings = pl.DataFrame({"eid": range(1000, 1040), "found": [cells[n % 4] for n in range(PEOPLE)]})
    findings.write_csv(folder / "found.csv")
    found = {"kind": "multi-label", "file": str(folder / "found.csv"), "column": "found", "between": "|"}
    request = Request.from_json({**only(raw, "image"), "targets": {"found": found}})
    store = prepare(request, folder / "store")
    assert [column.name for column in store.schema.entries["found"].columns] == ["edema", "effusion", "fracture"]
    values, _ = whole(store, "found")
    expected = [[np.nan] * 3, [0, 0, 0], [1, 1, 0], [1, 0, 1]]
    for n in range(PEOPLE):
        np.testing.assert_array_equal(values[n], expected[n % 4])


@pytest.mark.parametrize("cohort_of", ["inner", "outer"])
def test_a_row_without_any_value_lacks_the_vector(cohort: tuple[Path, dict], cohort_of: str) -> None:
    """So it is not in an inner cohort either."""
    folder, raw = cohort
    for column in range(6):
        cell(folder, "pgs.tsv", f"PGS{column}", 0, "NA")
    request = Request.from_json({**only(raw, "image", "pgs"), "cohort": cohort_of})
    store = prepare(request, folder / "store")
    values, absent = whole(store, "pgs")
    assert 0 not in values
    assert absent == (set() if cohort_of == "inner" else {0, *range(3, PEOPLE, 4)})
