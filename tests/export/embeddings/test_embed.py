"""Embeddings in a file are the features that `mmcl evaluate` measures, whatever the rows come from."""

import os
from pathlib import Path

import jax
import numpy as np
import pandas
import polars as pl
import pytest
from PIL import Image
from scipy.special import softmax

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.evaluation.sources.features import frozen_encoder
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.embeddings import make
from tests.export.embeddings.conftest import Drawn


def matrix(frame: pl.DataFrame, column: str = "features") -> np.ndarray:
    return frame[column].to_numpy()


def test_the_rows_of_a_store_have_the_features_of_evaluation_to_the_bit(drawn: Drawn, tmp_path: Path) -> None:
    made = mj.embed(drawn.run, store=drawn.store, input="image+table", out=tmp_path / "all.parquet")
    frame = made.to_frame()
    assert frame.columns == ["key", "row", "split", "modality", "features"]
    assert (made.rows, made.lost) == (sum(drawn.store.sizes.values()), {})
    data, source = LabelledStore.of(drawn.store, "model", None), Source("run", drawn.run)
    for split in drawn.store.sizes:
        mine = frame.filter(split=split)
        assert mine["key"].to_list() == drawn.store.keys(split)
        assert mine["row"].to_list() == drawn.store.arrays(split)["id"].tolist()
        expected = [source.features(data, modality)[split] for modality in ("image", "table")]
        np.testing.assert_array_equal(matrix(mine), np.concatenate(expected, axis=1))


def test_new_rows_have_the_embeddings_of_the_same_rows_in_a_store(drawn: Drawn, tmp_path: Path) -> None:
    options = {"input": ["image", "table"], "output": "projection"}
    stored = mj.embed(drawn.run, store=drawn.store, out=tmp_path / "store.parquet", **options).to_frame()
    raw = mj.embed(drawn.run, drawn.table, drawn.photos, out=tmp_path / "raw.parquet", **options).to_frame()
    assert raw["modality"].to_list() == ["image", "table"] * drawn.rows
    assert raw["key"].to_list() == [f"ad{row // 2}" for row in range(2 * drawn.rows)]
    assert raw["row"].to_list() == [row // 2 for row in range(2 * drawn.rows)]
    same = raw.join(stored, on=["key", "row", "modality"], suffix=" stored", maintain_order="left")
    assert same.height == 2 * drawn.rows
    np.testing.assert_array_equal(matrix(same, "projection"), matrix(same, "projection stored"))
    frame = pl.read_csv(drawn.table)
    pixels = np.stack([np.asarray(Image.open(drawn.photos / name)) for name in frame["file"]])
    memory = mj.embed(drawn.run, frame.drop("file"), pixels, out=tmp_path / "memory.parquet", **options).to_frame()
    assert memory.equals(raw)


def test_an_embedding_depends_on_its_row_alone(drawn: Drawn, tmp_path: Path) -> None:
    frame = pl.concat([pl.read_csv(drawn.table)] * 18)  # three blocks
    whole = matrix(mj.embed(drawn.run, frame, input="table", out=tmp_path / "whole.parquet").to_frame())
    huge = frame.with_columns(price=pl.when(pl.int_range(pl.len()) % 5 == 0).then(1e30).otherwise("price"))
    for name, rows in {
        "one": [301],
        "seven": range(130, 137),
        "shuffled": np.random.default_rng(0).permutation(720),
    }.items():
        part = mj.embed(drawn.run, frame[list(rows)], input="table", out=tmp_path / f"{name}.parquet").to_frame()
        np.testing.assert_array_equal(matrix(part), whole[list(rows)])
    beside = mj.embed(drawn.run, huge, input="table", out=tmp_path / "huge.parquet").to_frame()
    others = np.arange(720) % 5 > 0
    np.testing.assert_array_equal(matrix(beside)[others], whole[others])


@pytest.mark.parametrize("modality", ["image", "table"])
def test_features_have_the_same_bits_on_any_number_of_devices(drawn: Drawn, modality: str) -> None:
    rows = np.asarray(Source("run", drawn.run).inputs(drawn.store, "train", modality))
    rows = np.concatenate([rows] * 30)[:700]
    features = [
        frozen_encoder(
            drawn.run.model(), config=drawn.run.config, modality=modality, fitted=drawn.run.inputs.fitted,
            devices=jax.devices()[:count],
        )(rows)
        for count in (1, 2, 8)
    ]  # fmt: skip
    np.testing.assert_array_equal(features[1], features[0])
    np.testing.assert_array_equal(features[2], features[0])


def test_rows_that_cannot_be_embedded_are_listed_with_the_reason(drawn: Drawn, tmp_path: Path) -> None:
    lines = drawn.table.read_text().splitlines()
    header, typical = lines[0].split(","), lines[11].split(",")

    def row(**cells: object) -> str:
        return ",".join(str(cells.get(name, cell)) for name, cell in zip(header, typical, strict=True))

    (tmp_path / "photos").mkdir()
    for name in ("1.png", "10.png"):
        (tmp_path / "photos" / name).write_bytes((drawn.photos / name).read_bytes())
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    rows = [
        row(), row(ad="gone", file="gone.png"), row(ad="broken", file="broken.png"), row(ad="cell", price="cheap"),
        "too,few", row(ad="none", file=""), row(ad="", gearbox="steam", price=-5),
        row(ad="nan", price="NaN", file="1.png"),
    ]  # fmt: skip
    (tmp_path / "new.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    made = mj.embed(
        drawn.run, tmp_path / "new.csv", tmp_path / "photos", input="image+table", out=tmp_path / "e.parquet"
    )
    assert (made.rows, made.lost) == (8, {"image+table": 5})
    frame = made.to_frame()
    assert frame.select("row", "key").rows() == [(0, "ad10"), (6, None), (7, "nan")]
    lost = pl.read_csv(made.unembedded)
    assert lost.columns == ["row", "key", "split", "modality", "reason"]
    reasons = dict(lost.select("row", "reason").rows())
    words = {1: "does not exist", 2: "broken.png", 3: "'price' holds 'cheap'", 4: "It has 2 cells", 5: "has no image"}
    assert reasons.keys() == words.keys()
    for number, word in words.items():
        assert word in reasons[number]
    assert "column 'gearbox' of 'table': 1 cell of a category that no training row has" in made.describe()
    assert "column 'price' of 'table': 1 number outside the range" in made.describe()
    whole = mj.embed(
        drawn.run, drawn.table, drawn.photos, input="image+table", out=tmp_path / "whole.parquet"
    ).to_frame()
    np.testing.assert_array_equal(matrix(frame)[0], matrix(whole)[10])
    assert made.to_dict()["unembedded"] == {"image+table": 5}


def test_no_rows_give_an_empty_file_of_the_same_types(drawn: Drawn, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text(drawn.table.read_text().splitlines()[0] + "\n")
    none = mj.embed(drawn.run, tmp_path / "none.csv", input="table", out=tmp_path / "none.parquet")
    some = mj.embed(drawn.run, drawn.table, input="table", out=tmp_path / "some.parquet")
    assert (none.rows, none.to_frame().height) == (0, 0)
    assert none.to_frame().schema == some.to_frame().schema
    assert pl.read_csv(none.unembedded).height == 0


def test_a_folder_of_images_needs_no_table(drawn: Drawn, tmp_path: Path) -> None:
    made = mj.embed(drawn.run, images=drawn.photos, dtype="float16", workers=2, out=tmp_path / "photos.parquet")
    frame = made.to_frame()
    assert frame["key"].to_list() == sorted(f"{row}.png" for row in range(drawn.rows))
    assert frame.schema["features"] == pl.Array(pl.Float16, 8)
    by_file = mj.embed(drawn.run, drawn.table, drawn.photos, input="image", out=tmp_path / "table.parquet").to_frame()
    by_file = by_file.with_columns(key=pl.format("{}.png", "row")).sort("key")
    np.testing.assert_array_equal(matrix(frame), matrix(by_file).astype(np.float16))
    pandas_frame = pandas.read_parquet(made.path)
    np.testing.assert_array_equal(np.stack(pandas_frame["features"]), matrix(frame))


@pytest.mark.foreign
def test_other_programs_open_the_file(drawn: Drawn, tmp_path: Path) -> None:
    duckdb, datasets = pytest.importorskip("duckdb"), pytest.importorskip("datasets")
    for dtype in ("float32", "float16"):
        path = tmp_path / f"{dtype}.parquet"
        frame = mj.embed(drawn.run, drawn.table, input="table", dtype=dtype, out=path).to_frame()
        loaded = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        assert (loaded.features["features"].length, loaded.features["features"].feature.dtype) == (4, dtype)
        np.testing.assert_array_equal(np.array(loaded["features"], dtype), matrix(frame))
        rows = duckdb.sql(f"SELECT features FROM '{path}' ORDER BY row").fetchall()
        np.testing.assert_array_equal(np.array([row[0] for row in rows], dtype), matrix(frame))


@pytest.mark.parametrize(("protocol", "label"), [("probe", "model"), ("finetune", "tax")])
def test_a_kept_head_predicts(drawn: Drawn, protocol: str, label: str, tmp_path: Path) -> None:
    mj.evaluate(
        drawn.run, label=label, protocol=protocol, input="image", seeds=1, max_epochs=1, baselines=(),
        learning_rates=[1e-2], keep=tmp_path / "heads", out=tmp_path / "scores.json",
    )  # fmt: skip
    (folder,) = (tmp_path / "heads").iterdir()
    made = mj.embed(drawn.run, drawn.table, drawn.photos, head=folder, out=tmp_path / "e.parquet")
    frame = made.to_frame()
    head = load_head(folder, drawn.run)
    pixels = np.stack([np.asarray(Image.open(drawn.photos / f"{row}.png")) for row in range(drawn.rows)])
    outputs = head.outputs({"image": pixels})
    if label == "tax":
        np.testing.assert_array_equal(frame["prediction"].to_numpy(), outputs[:, 0])
        return
    np.testing.assert_allclose(frame["probabilities"].to_numpy(), softmax(outputs, axis=1), rtol=1e-5)
    assert frame["prediction"].to_list() == [f"m{code}" for code in outputs.argmax(axis=1)]
    assert made.metadata["head"]["classes"] == ["m0", "m1"]


def test_heads_of_like_labels_keep_their_own_names(drawn: Drawn, tmp_path: Path) -> None:
    """The heads of `model` and `sold` share a compiled program, since both labels have two classes."""
    mj.evaluate(
        drawn.run, label=["model", "sold"], protocol="probe", input="image", seeds=1, max_epochs=1, baselines=(),
        learning_rates=[1e-2], keep=tmp_path / "heads", out=tmp_path / "scores.json",
    )  # fmt: skip
    heads = [load_head(folder, drawn.run) for folder in (tmp_path / "heads").iterdir()]
    assert {head.trained.task.label: head.labels for head in heads} == {
        "model": {"model": ("m0", "m1")},
        "sold": {"sold": ("false", "true")},
    }


def test_what_cannot_be_done_is_said_in_a_sentence(drawn: Drawn, tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    cases = {
        "Give either --table and --images, or --request, or --store": {},
        "must end in .parquet": {"table": drawn.table, "out": tmp_path / "e.csv"},
        "'image' needs images": {"table": drawn.table, "input": "image"},
        "has no 'pgs' encoder; it has image, table": {"table": drawn.table, "input": "pgs"},
        "add --output projection": {"table": drawn.table, "input": "table:pgs"},
        "has no projector 'table:pgs'": {"table": drawn.table, "input": "table:pgs", "output": "projection"},
        "have different widths (image 8 and table 4)": {"store": drawn.store, "input": ["image", "table"]},
        "There is no column 'price'": {"table": pl.DataFrame({"ad": ["a"]}), "input": "table"},
        "only a store has splits": {"table": drawn.table, "split": "test"},
        "--key-column: it tells how --table is read": {"store": drawn.store, "key_column": "ad"},
        "--encoding: it tells how --table is read": {"request": {}, "encoding": "latin-1"},
        "a store holds its images": {"store": drawn.store, "follow_links": tmp_path},
        "is named twice": {"table": drawn.table, "input": "table+table"},
    }
    for sentence, given in cases.items():
        with pytest.raises(UserError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
            mj.embed(drawn.run, **{"out": out, **given})
        assert list(tmp_path.iterdir()) == []  # nothing is left, not even what was begun


def test_the_command_line_embeds(drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.parquet"
    command = ["embed", "--run", str(drawn.run.directory), "--table", str(drawn.table), "--input", "table"]
    assert main([*command, "--out", str(out)]) == 0
    assert "40 rows, features of 4 numbers of table" in capsys.readouterr().out
    assert main([*command, "--out", str(out)]) == 0  # has nothing to do
    assert main([*command, "--dtype", "float16", "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_call_that_was_stopped_continues(drawn: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "MOST_ROWS", 256)
    frame = pl.concat([pl.read_csv(drawn.table)] * 26)  # five chunks
    table = tmp_path / "large.parquet"
    frame.write_parquet(table)
    whole = mj.embed(drawn.run, table, input="table", out=tmp_path / "whole.parquet")
    written, write = [], make.Parts.write

    class Killed(BaseException):
        pass

    def dying(self, index, part) -> None:
        if len(written) == 3:
            raise Killed
        written.append(index)
        write(self, index, part)

    monkeypatch.setattr(make.Parts, "write", dying)
    out = tmp_path / "killed.parquet"
    with pytest.raises(Killed):
        mj.embed(drawn.run, table, input="table", out=out)
    assert not out.exists()
    with pytest.raises(UserError, match="was begun with another dtype"):
        mj.embed(drawn.run, table, input="table", dtype="float16", out=out)
    written.clear()
    made = mj.embed(drawn.run, table, input="table", out=out)
    assert written == [3, 4]
    assert made.path.read_bytes() == whole.path.read_bytes()
    assert made.unembedded.read_bytes() == whole.unembedded.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_file_name_that_is_no_text_is_refused(drawn: Drawn, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / os.fsdecode(b"gr\xfcn.png")).write_bytes(b"")
    with pytest.raises(UserError, match="is not in UTF-8; rename the file"):
        mj.embed(drawn.run, images=folder, out=tmp_path / "e.parquet")
