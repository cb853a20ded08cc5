"""Later data of the same table: a store that is read as an earlier store or run was."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.label_feature import append_label
from mmcl_jax.errors import UserError
from mmcl_jax.files import write_checksums
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import raw_rows
from mmcl_jax.prepare.table.table import read_table

SCHEMA = {
    "columns": {
        "condition": {"kind": "ordinal", "categories": ["poor", "fair", "good"], "tags": ["seen"]},
        "sold": {"kind": "date", "format": "%d/%m/%Y"},
        "price": {"unit": "GBP", "missing": ["POA"]},
    }
}


def table(folder: Path, name: str, rows: int, *, gears: list[str], models: list[str], seed: int) -> Path:
    """A table of every kind of column, and its grey pictures of 12 x 10 pixels."""
    rng = np.random.default_rng(seed)
    files = [f"{name}{row}.png" for row in range(rows)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (12, 10), np.uint8)).save(folder / file)
    columns = {
        "ad": [f"{name}{row}" for row in range(rows)],
        "file": files,
        "price": ["POA" if row % 7 == 0 else f"{rng.normal(1e4, 3e3):.2f}" for row in range(rows)],
        "gearbox": [gears[row % len(gears)] for row in range(rows)],
        "condition": rng.choice(["poor", "fair", "good"], rows).tolist(),
        "sold": [f"{1 + row % 28:02d}/01/2020" for row in range(rows)],
        "used": rng.choice(["yes", "no"], rows).tolist(),
        "note": [f"free text number {row} of many" for row in range(rows)],
        "model": [models[row % len(models)] for row in range(rows)],
    }
    path = folder / f"{name}.csv"
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.fixture
def first(tmp_path: Path) -> Request:
    """The request of the store that others are like."""
    (tmp_path / "first").mkdir()
    return Request(
        table=table(tmp_path / "first", "a", 60, gears=["manual", "automatic"], models=["m0", "m1", "m2"], seed=0),
        images=tmp_path / "first",
        image_column=("file",),
        schema=Declaration.from_json(SCHEMA, "test"),
        key_column="ad",
        label=("model",),
        image_size=(6, 8),
        resize="nearest",
        channels=3,
    )


@pytest.fixture
def later(tmp_path: Path) -> Request:
    """Rows of another day, without columns in the same order: one gear, one class and one number are new."""
    (tmp_path / "later").mkdir()
    path = table(tmp_path / "later", "b", 40, gears=["robotic", "manual"], models=["m2", "m9", "m0", "m1"], seed=1)
    frame = pl.read_csv(path, infer_schema=False)
    frame.select(reversed(frame.columns)).write_csv(path)
    return Request(table=path, images=path.parent, split=(0.5, 0.25, 0.25))


def run_of(store: Store, folder: Path, missing: str) -> Path:
    """What a run keeps of its store, as far as tables and pictures are concerned."""
    from mmcl_jax.config import load
    from mmcl_jax.training.build import fit_inputs
    from mmcl_jax.training.runs.run import Run

    config = load("digits_mmcl", [f"data={store.directory}", f"inputs.table.missing={missing}"])
    Run.begin(folder, config, store, fit_inputs(config, store))
    return folder


@pytest.mark.core
@pytest.mark.parametrize("of", ["store", "run", "run without its store", "early run", "store like a store"])
def test_every_kind_of_column_is_read_as_there(of: str, first: Request, later: Request, tmp_path: Path) -> None:
    there = prepare(first, tmp_path / "store")
    source = there.directory
    if "run" in of:
        source = run_of(there, tmp_path / "run", "token")
    if of == "run without its store":
        shutil.rmtree(there.directory)
    if of == "early run":  # which did not keep the request
        origin = json.loads((source / "store.json").read_text())
        (source / "store.json").write_text(json.dumps({key: origin[key] for key in ("fingerprint", "directory")}))
        (source / "checksums.json").unlink()
    if of == "store like a store":
        source = prepare(
            dataclasses.replace(first, like=source, schema=Declaration(), label=()), tmp_path / "s"
        ).directory
    store = prepare(dataclasses.replace(later, like=source), tmp_path / "new")
    assert store.schema == there.schema  # order, kinds, categories, units, tags, classes and pictures
    frame = read_table(later.table).frame
    values, _ = raw_rows(frame, there.schema, there.declaration, "later")
    classes = {f"m{code}": code for code in range(3)}
    codes = np.array([classes.get(text, np.nan) for text in frame["model"]])
    assert sum(store.sizes.values()) == 40
    for split in store.sizes:
        arrays = store.arrays(split)
        np.testing.assert_array_equal(arrays["table"], values[arrays["id"]])
        np.testing.assert_array_equal(arrays["labels"][:, 0], codes[arrays["id"]])
        assert store.keys(split) == frame["ad"].gather(arrays["id"]).to_list()
    said = "\n".join(Findings.of(store).warnings)
    assert (
        f"Column 'gearbox': 20 cells are categories that {source} does not have, and are missing: 'robotic' (20)."
        in said
    )
    assert f"Column 'model': 10 cells are classes that {source} does not have, and have no label: 'm9' (10)." in said


def test_pictures_are_made_to_fit_as_there(first: Request, tmp_path: Path) -> None:
    """The very rows again, by the run alone: the very pixels, whatever the defaults would give."""
    there = prepare(first, tmp_path / "store")
    again = Request(table=first.table, images=first.images, like=run_of(there, tmp_path / "run", "token"))
    store = prepare(again, tmp_path / "new")
    pixels = {}
    for one in (there, store):
        arrays = [one.arrays(split) for split in one.sizes]
        order = np.argsort(np.concatenate([part["id"] for part in arrays]))
        pixels[one.directory] = np.concatenate([np.asarray(part["image"]) for part in arrays])[order]
    np.testing.assert_array_equal(*pixels.values())
    assert store.schema.image == there.schema.image
    assert store.made_by["request"]["resize"] == "nearest"
    plain = prepare(dataclasses.replace(first, resize="bilinear"), tmp_path / "plain")
    assert not np.array_equal(plain.arrays("train")["image"], there.arrays("train")["image"])


def test_the_run_says_that_its_policy_refuses(first: Request, later: Request, tmp_path: Path) -> None:
    full = pl.read_csv(first.table).with_columns(price=pl.lit(1.5) + pl.int_range(60))
    full.write_csv(first.table)
    run = run_of(prepare(first, tmp_path / "store"), tmp_path / "run", "refuse")
    warnings = Findings.of(prepare(dataclasses.replace(later, like=run), tmp_path / "new")).warnings
    refused = [one for one in warnings if "the run refuses missing values" in one]
    assert len(refused) == 1
    assert refused[0].startswith("Column 'gearbox': 20 cells")


def test_a_label_that_was_a_feature_is_no_column(first: Request, tmp_path: Path) -> None:
    store = prepare(first, tmp_path / "store")
    run = run_of(store, tmp_path / "run", "token")
    (run / "schema.json").write_text(append_label(store.schema, store).to_json())
    write_checksums(run, [run / name for name in json.loads((run / "checksums.json").read_text())])
    assert Like.open(run).schema == store.schema


@pytest.mark.parametrize(
    ("drop", "change", "sentence"),
    [
        ("gearbox", {}, "There is no column 'gearbox' in"),
        ("model", {}, "There is no column 'model' in"),
        ("", {"label": ("used",)}, "--label: --like takes this from"),
        ("", {"image_size": (9, 9)}, "--image-size: --like takes this from"),
        ("", {"categorical": ("price",)}, "--categorical: --like takes this from"),
        ("", {"decimal": ","}, "--decimal: --like takes this from"),
        ("", {"thousands": "."}, "--thousands: --like takes this from"),
        ("", {"missing": ("-9",)}, "--missing: --like takes this from"),
        ("", {"ignore": ("price",)}, "--ignore: .* needs the column 'price', which is one of its features"),
        ("", {"ignore": ("colour",)}, "There is no column 'colour' in"),
        ("", {"key_column": "price"}, "Column 'price' is declared with the role feature and given identifier by"),
        ("", {"like": Path("nowhere")}, "--like: nowhere is neither a run .* nor a store"),
    ],
)
def test_what_is_otherwise_is_one_sentence(
    drop: str, change: dict, sentence: str, first: Request, later: Request, tmp_path: Path
) -> None:
    store = prepare(first, tmp_path / "store")
    if drop:
        pl.read_csv(later.table).drop(drop).write_csv(later.table)
    with pytest.raises(UserError, match=sentence):
        prepare(dataclasses.replace(later, **{"like": store.directory, **change}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_column_of_another_kind_stops_the_build(first: Request, later: Request, tmp_path: Path) -> None:
    store = prepare(first, tmp_path / "store")
    pl.read_csv(later.table).with_columns(price=pl.lit("cheap")).write_csv(later.table)
    with pytest.raises(UserError, match="Column 'price' holds 'cheap', which is not a finite number"):
        prepare(dataclasses.replace(later, like=store.directory), tmp_path / "new")


def test_pictures_of_another_size_are_refused_where_none_was_asked_for(
    first: Request, later: Request, tmp_path: Path
) -> None:
    store = prepare(dataclasses.replace(first, image_size=None), tmp_path / "store")
    assert prepare(dataclasses.replace(later, like=store.directory), tmp_path / "new").schema == store.schema
    for path in later.images.glob("*.png"):
        Image.open(path).resize((9, 9)).save(path)
    with pytest.raises(UserError, match=r"have the shape 12 x 10 x 3, the new images 9 x 9 x 3"):
        prepare(dataclasses.replace(later, like=store.directory), tmp_path / "other")


def test_other_columns_may_hold_keys_and_labels_may_be_left(first: Request, later: Request, tmp_path: Path) -> None:
    store = prepare(first, tmp_path / "store")
    frame = pl.read_csv(later.table).rename({"file": "picture", "ad": "number"}).drop("model")
    frame.write_csv(later.table)
    request = dataclasses.replace(later, like=store.directory, image_column=("picture",), key_column="number")
    new = prepare(dataclasses.replace(request, ignore=("model",)), tmp_path / "new")
    assert new.schema == dataclasses.replace(store.schema, labels=())
    assert new.keys("train")[0].startswith("b")


def test_a_run_is_evaluated_on_later_rows(
    first: Request, later: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands: pretrain on one day's rows, prepare another's, evaluate from image and table."""
    store = prepare(first, tmp_path / "store").directory
    run, new = tmp_path / "run", tmp_path / "new"
    config = ["mmcl/mmcl:own", f"--config.data={store}", "--config.epochs=1", "--config.schedule.warmup_epochs=0"]
    assert main(["pretrain", "--config", *config, "--workdir", str(run)]) == 0
    rows = ["--table", str(later.table), "--images", str(later.images), "--split", "0.5,0.25,0.25", "--workers", "1"]
    assert main(["prepare", *rows, "--out", str(tmp_path / "otherwise"), "--image-column", "file", "--label", "model",
                 "--image-size", "6x8", "--channels", "3"]) == 0  # fmt: skip
    evaluate = [
        "evaluate",
        "--run",
        str(run),
        "--input",
        "both",
        "--seeds",
        "1",
        "--max-epochs",
        "2",
        "--baselines",
        "",
    ]
    assert main([*evaluate, "--store", str(tmp_path / "otherwise")]) == 2  # as it was before there was --like
    assert main(["prepare", *rows, "--like", str(run), "--out", str(new)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "20 cells are categories that" in printed
    assert main([*evaluate, "--store", str(new)]) == 0
    scores = json.loads((run / "evaluation.json").read_text())["scores"]
    assert [score["input"] for score in scores] == ["both"]
