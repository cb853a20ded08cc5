"""From files to a probe, by the commands: drawn cars, drawn hearts, a TFDS data set, new rows."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.rows import raw_rows
from mmcl_jax.prepare.table.table import read_table
from mmcl_jax.training.runs.run import Run
from tests.prepare.test_medical import dicom

TINY = [
    "--config.epochs=2", "--config.schedule.warmup_epochs=0", "--config.batch_size=32", "--config.log_every=1",
    "--config.batch_norm.group_size=4", "--config.encoders.image.channels=(4, 8)", "--config.encoders.table.hidden=16",
    "--config.encoders.table.features=8", "--config.projectors.table.hidden=8", "--config.projectors.image.hidden=8",
]  # fmt: skip


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert main(list(arguments)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def probe(capsys: pytest.CaptureFixture[str], store: Path, run: Path, *config: str) -> list[dict]:
    """Pretrains and probes; the scores."""
    options = [f"--config.data={store}", *TINY, *config]
    assert "steps in" in said(capsys, "pretrain", "--config", "digits_mmcl", "--workdir", str(run), *options)
    said(capsys, "evaluate", "--run", str(run), "--fraction", "1", "--seeds", "1")
    return json.loads((run / "evaluation.json").read_text())["scores"]


def test_drawn_cars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store"
    few = ["--dataset.min_ads=12"]
    drawn = ["--dataset.models=6", "--dataset.ads=260", "--dataset.image_size=48"]
    said(capsys, "generate", "dvm", "--out", str(raw), *drawn, *few)
    dataset = [
        "prepare",
        "--dataset",
        "dvm",
        "--root",
        str(raw),
        *few,
        f"--dataset.ids={raw / 'ids'}",
        "--workers",
        "1",
    ]
    printed = said(capsys, *dataset, "--image-size", "24", "--max-bad", "0.1", "--out", str(store))
    assert "13 continuous, 4 categorical" in printed
    assert "random forest" in printed
    scores = probe(capsys, store, tmp_path / "run")
    assert {score["method"] for score in scores} == {"pixels", "random encoder", "digits_mmcl"}
    opened = Store.open(store)
    truth = pl.read_csv(raw / "truth.csv")
    assert set(opened.keys("train")) <= set(truth["Adv_ID"].cast(pl.String))
    lost = Findings.of(opened).lost
    assert sum(lost.values()) == 3  # the planted broken files
    split, rows = opened.subset("train_10")
    assert split == "train"
    assert len(np.unique(opened.arrays("train")["label"][rows])) == len(opened.schema.label.categories)


def test_drawn_hearts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store"
    said(capsys, "generate", "cardiac", "--out", str(raw), "--dataset.subjects=90")
    dataset = ["prepare", "--dataset", "cardiac", "--root", str(raw), "--workers", "1"]
    printed = said(capsys, *dataset, "--image-size", "24", "--max-bad", "0.1", "--out", str(store))
    assert "cad (2 classes), infarction (2 classes)" in printed
    opened = Store.open(store)
    assert opened.schema.image.shape == (24, 24, 3)
    scores = probe(capsys, store, tmp_path / "run", "--config.inputs.table.missing=iterative")
    assert all(0 <= score["metrics"]["auroc"] <= 1 for score in scores)
    assert (tmp_path / "run" / "imputer.npz").is_file()
    options = ["--subset", "train_balanced", "--label", "infarction", "--baselines", "pixels"]
    said(capsys, "evaluate", "--run", str(tmp_path / "run"), *options)
    every = json.loads((tmp_path / "run" / "evaluation.json").read_text())["scores"]
    assert [(score["method"], score["budget"]) for score in every[len(scores) :]] == [
        ("digits_mmcl", "train_balanced"),
        ("pixels", "train_balanced"),
    ]


def test_any_tfds_data_set(digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store is a TFDS data set, so it can be a source: the same pixels and labels come out."""
    root = ["--dataset", "tfds", "--root", str(digits_store.directory), f"--dataset.cache={tmp_path / 'files'}"]
    said(capsys, "prepare", *root, "--duplicates", "keep", "--workers", "1", "--out", str(tmp_path / "store"))
    again = Store.open(tmp_path / "store")
    assert again.sizes == digits_store.sizes
    for split in again.sizes:
        one, other = again.arrays(split), digits_store.arrays(split)
        np.testing.assert_array_equal(np.asarray(one["image"]), np.asarray(other["image"]))
        np.testing.assert_array_equal(one["label"], other["label"])


def test_a_new_row_is_encoded_as_training_rows_were(
    raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the run alone, from cells, to the last bit; with every policy that fits anything."""
    table = pl.read_csv(raw.table).with_columns(
        price=pl.when(pl.int_range(40) % 5 == 0).then(None).otherwise(pl.col("price")),
        gearbox=pl.when(pl.int_range(40) % 7 == 0).then(pl.lit("NA")).otherwise(pl.col("gearbox")),
        sold=pl.Series([f"2020-01-{1 + i % 28:02d}" for i in range(40)]),
    )
    table.write_csv(raw.table)
    options = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--label", "model"]
    store = tmp_path / "store"
    said(capsys, "prepare", *options, "--key-column", "ad", "--workers", "1", "--out", str(store))
    opened = Store.open(store)
    for missing in ("mean", "iterative", "token"):
        run = tmp_path / missing
        small = ["--config.batch_size=8", "--config.epochs=1", f"--config.inputs.table.missing={missing}"]
        said(
            capsys,
            "pretrain",
            "--config",
            "digits_mmcl",
            f"--config.data={store}",
            "--workdir",
            str(run),
            *TINY,
            *small,
        )
        trained = Run.open(run)
        values, unknown = raw_rows(read_table(raw.table).frame, trained.schema, trained.declaration, "ads.csv")
        encoded = trained.encoding.encode(values)
        assert unknown == [0] * len(trained.schema.columns)
        for split in opened.sizes:
            arrays = opened.arrays(split)
            np.testing.assert_array_equal(encoded[arrays["id"]], trained.encoding.encode(arrays["table"]))
        alone = trained.encoding.encode(values[7:8])
        np.testing.assert_array_equal(alone, encoded[7:8])
        assert np.isnan(encoded).any() == (missing == "token")


def test_look_first_and_write_a_schema(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--label", "model"]
    schema = tmp_path / "schema.json"
    printed = said(capsys, "prepare", *options, "--check", "--write-schema", str(schema))
    assert "random forest" in printed
    declared = json.loads(schema.read_text())
    assert declared["columns"]["gearbox"] == {"role": "feature", "kind": "categorical"}
    assert declared["columns"]["ad"]["role"] == "ignore"
    declared["columns"]["seats"]["kind"] = "categorical"
    schema.write_text(json.dumps(declared))
    said(capsys, "prepare", *options, "--schema", str(schema), "--workers", "1", "--out", str(tmp_path / "store"))
    kinds = {column.name: column.kind for column in Store.open(tmp_path / "store").schema.columns}
    assert kinds == {"price": "continuous", "seats": "categorical", "gearbox": "categorical"}
    # The request that a store keeps makes it again.
    request = ["--request", str(tmp_path / "store" / "store.json"), "--workers", "1"]
    said(capsys, "prepare", *request, "--out", str(tmp_path / "again"))
    assert Store.open(tmp_path / "again").fingerprint == Store.open(tmp_path / "store").fingerprint


def test_generate_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert main(["generate", "cardiac", "--out", str(tmp_path / "raw")]) == 2
    assert 'pip install "mmcl_jax[medical]"' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "raw").mkdir()
    assert main(["generate", "dvm", "--out", str(tmp_path / "raw")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--out", "store"], "Give --table and --images, or a named data set"),
        (
            ["--dataset", "dvm", "--out", "store"],
            "--root: this option is missing; give the folder of the data set 'dvm'.",
        ),
        (
            ["--dataset", "dvm", "--root", ".", "--dataset.colour=1", "--out", "s"],
            "--dataset.colour: data set 'dvm' has",
        ),
        (["--dataset", "dvm", "--root", ".", "--dataset.min_ads=x", "--out", "s"], "--dataset.min_ads: 'x' is not of"),
        (["--dataset", "tfds", "--root", "no_such_set", "--out", "store"], "--root: the TFDS data set 'no_such_set'"),
        (["--table", "a.csv", "--images", ".", "--max-bad", "2", "--out", "store"], "--max-bad: 2.0 is not a share"),
        (
            ["--table", "a.csv", "--images", ".", "--schema", "no.json", "--out", "s"],
            "The schema no.json does not exist",
        ),
        (["--request", "no.json", "--out", "store"], "--request: no.json does not exist"),
    ],
)
def test_bad_options_are_one_sentence(
    options: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_several_pictures_per_row(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As channels of one image; or as pictures of which training takes one and evaluation the mean of the features."""
    table = pl.read_csv(raw.table).with_columns(back=pl.col("file").reverse())
    table.write_csv(raw.table)
    options = [
        "--table",
        str(raw.table),
        "--images",
        str(raw.images),
        "--image-column",
        "file,back",
        "--label",
        "model",
    ]
    options += ["--duplicates", "keep", "--workers", "1"]
    said(capsys, "prepare", *options, "--out", str(tmp_path / "channels"))
    assert Store.open(tmp_path / "channels").arrays("train")["image"].shape == (28, 12, 10, 6)
    said(capsys, "prepare", *options, "--stack", "views", "--out", str(tmp_path / "views"))
    store = Store.open(tmp_path / "views")
    arrays = store.arrays("train")
    assert arrays["image"].shape == (28, 2, 12, 10, 3)
    files = dict(zip(table["file"], table["back"], strict=True))
    for row in (0, 13):
        for picture, name in enumerate((store.keys("train")[row], files[store.keys("train")[row]])):
            np.testing.assert_array_equal(arrays["image"][row][picture], np.asarray(Image.open(raw.images / name)))
    run = tmp_path / "run"
    small = [f"--config.data={store.directory}", *TINY, "--config.batch_size=16"]
    said(capsys, "pretrain", "--config", "digits_mmcl", "--workdir", str(run), *small)
    trained = Run.open(run)
    encode = frozen_encoder(trained.model(), config=trained.config)
    images = np.asarray(arrays["image"])
    each = np.stack([encode(images[:, picture]) for picture in (0, 1)])
    np.testing.assert_allclose(encode(images), each.mean(axis=0), atol=1e-5)
    absent = ["--config.views.image.picture=2", "--workdir", str(tmp_path / "other")]
    assert main(["pretrain", "--config", "digits_mmcl", *small, *absent]) == 2
    assert "picture is 2, and rows have 2 pictures; give an index below 2, or None" in capsys.readouterr().err


def test_dicom_files(raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.read_csv(raw.table).with_columns(file=pl.format("{}.dcm", "ad"))
    table.write_csv(raw.table)
    for row, name in enumerate(table["file"]):
        dicom(raw.images / name, np.arange(120, dtype=np.uint16).reshape(12, 10) * 30 + row * row)
    options = ["--table", str(raw.table), "--images", str(raw.images), "--image-column", "file", "--workers", "1"]
    said(capsys, "prepare", *options, "--intensity", "0:4095", "--out", str(tmp_path / "store"))
    arrays = Store.open(tmp_path / "store").arrays("train")
    row = int(arrays["id"][5])
    expected = np.rint((np.arange(120).reshape(12, 10) * 30 + row * row) / 4095 * 255)
    np.testing.assert_array_equal(arrays["image"][5][..., 0], expected)


@pytest.mark.core
def test_a_worker_that_dies_is_one_sentence_and_the_command_continues(digits_raw: Request, tmp_path: Path) -> None:
    out = tmp_path / "store"
    options = ["--table", str(digits_raw.table), "--images", str(digits_raw.images), "--image-column", "file"]
    command = [sys.executable, "-m", "mmcl_jax.cli.main", "prepare", *options, "--ignore", "id", "--out", str(out)]
    child = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.PIPE, text=True)
    journal = tmp_path / ".store.partial" / "flat" / "journal.jsonl"
    while not (journal.is_file() and journal.read_text()):
        assert child.poll() is None
        time.sleep(0.002)
    workers = [one for one in psutil.Process(child.pid).children() if "spawn_main" in " ".join(one.cmdline())]
    workers[0].kill()
    _, error = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "a worker process died" in error
    assert "Traceback" not in error
    assert not out.exists()
    assert subprocess.run([*command, "--workers", "1"], stdout=subprocess.DEVNULL).returncode == 0
    assert sum(Store.open(out).sizes.values()) == 1994
