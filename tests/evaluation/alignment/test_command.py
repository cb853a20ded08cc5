"""`mmcl align` and the method `sentences` on coloured squares: known numbers, pages, privacy, and bad input."""

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.alignment import channel_std, local_std, unit_length
from mmcl_jax.evaluation.alignment.pairing import pairing_of
from mmcl_jax.evaluation.alignment.phrases import read_prompts
from mmcl_jax.evaluation.alignment.sides import Side, encode_side, taken_rows
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.training.runs.run import Run
from tests.evaluation.alignment.world import COLOURS, WORDS, begun, knowing, prepared
from tests.pages import is_closed

sentences: Any = importlib.import_module("mmcl_jax.explain.sentences.sentences")  # the name is also the method's
ROWS = 24
PROMPTS = "red,green=a green square|no blue square"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alignment") / "world"
    store, _ = prepared(folder)
    begun(folder / "run", store)
    begun(folder / "apart", store, aligned=False, pooled=False)
    return folder


@pytest.fixture(scope="module")
def patched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "model", knowing)
        patch.setattr(Run, "step", lambda run: 30)
        yield


@pytest.fixture(scope="module")
def found(world: Path, patched: None) -> tuple[dict[str, Any], pl.DataFrame, str]:
    out = world / "out"
    words = ["--truth", str(world / "truth.csv"), "--prompts", PROMPTS, "--subgroup", "sex,age", "--map-rows", "12"]
    assert main(["align", "--run", str(world / "run"), "--out", str(out), *words]) == 0
    about = json.loads((out / "alignment.json").read_text(), parse_constant=lambda constant: 1 / 0)
    return about, pl.read_csv(out / "alignment.tsv", separator="\t"), (out / "alignment.html").read_text()


def test_sentences_point_at_the_squares_that_they_name(found: Any) -> None:
    _, frame, _ = found
    frame = frame.with_columns(pl.col("column", "group").replace("", None))
    for method in ("alignment", "cosine"):
        assert value_of(frame, method, "pointing accuracy") == (1.0, 2 * ROWS)
        assert value_of(frame, method, "mIoU") == (1.0, 2 * ROWS)
        for colour in COLOURS:
            assert value_of(frame, f"{method}: {colour}", "pointing accuracy")[0] == 1.0
    chance = frame.filter(of="cosine", measure="pointing accuracy").filter(pl.col("column").is_null())["chance"]
    assert chance.to_list() == [1 / 16]
    groups = frame.filter(of="alignment", measure="pointing accuracy").filter(pl.col("column") == "sex")
    assert set(groups["group"]) == {"F", "M"}
    assert groups["rows"].sum() == 2 * ROWS


def value_of(frame: pl.DataFrame, of: str, measure: str) -> tuple[float, int]:
    (row,) = frame.filter(of=of, measure=measure).filter(pl.col("column").is_null()).to_dicts()
    return row["value"], row["rows"]


def test_numbers_are_those_of_the_measures(world: Path, patched: None, found: Any) -> None:
    about, frame, _ = found
    frame = frame.with_columns(pl.col("column", "group").replace("", None))
    run = Run.open(world / "run")
    source, pairing = Source("run", run), pairing_of(run)
    at = np.arange(ROWS)
    image, report = (
        encode_side(source, pairing, name, taken_rows(source, run.store(), "test", name, at))
        for name in ("image", "report")
    )
    pooled = unit_length(np.asarray(image.pooled, np.float64))
    assert value_of(frame, "image pooled", "std")[0] == pytest.approx(channel_std(pooled), abs=1e-6)
    local = local_std(unit_length(np.asarray(report.local, np.float64)), report.mask)
    assert value_of(frame, "report local", "std of centroids")[0] == pytest.approx(local.centroid, abs=1e-6)
    assert image.grid == (4, 4)
    assert image.weight is not None
    assert np.allclose(about["region_weights"], image.weight.mean(axis=0).reshape(4, 4))
    assert about["smoothness"]["distances"][:3] == [1.0, pytest.approx(2**0.5), 2.0]
    assert value_of(frame, "report to image", "top-1")[0] == 0.0  # reports with the same colours tie
    assert value_of(frame, "red", "AUROC of the prompt alone")[0] == 1.0
    assert 0.5 < value_of(frame, "green", "AUROC of the pair")[0] <= 1.0
    assert value_of(frame, "green, negated", "precision at 1")[0] == 0.0  # blue squares have green ones beside them
    most = frame.filter(of="image pooling", measure="entropy").filter(pl.col("column").is_null())
    assert most["value"][0] <= most["chance"][0] == pytest.approx(np.log(16))


def test_the_page_needs_nothing_and_shows_no_report(found: Any) -> None:
    about, _, page = found
    is_closed(page)
    assert "By subgroup" in page
    assert page.count("<svg") >= 3
    for text in (page, json.dumps(about)):
        assert "There is a" not in text
        assert "there is a" not in text


def test_a_run_without_a_local_term_points_by_cosines_alone(world: Path, patched: None, tmp_path: Path) -> None:
    found = mj.align(world / "apart", out=tmp_path / "out", truth=world / "truth.csv", map_rows=0, rows=12)
    methods = {score["of"].partition(":")[0] for score in found.about["scores"] if score["part"] == "pointing"}
    assert methods == {"cosine"}
    assert not found.about["aligned"]
    assert "No term of the objective aligns" in found.describe()
    assert not (tmp_path / "out" / "regions.npy").exists()
    alone = mj.align(world / "apart", out=tmp_path / "image", input="image", rows=12)
    assert {score["part"] for score in alone.about["scores"]} == {"spread"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--input", "photo"], "--input: "),
        (["--split", "tests"], "--split: there is no split 'tests'"),
        (["--prompts", "purple"], "has no label 'purple'; it has red, green, blue"),
        (["--prompts", "red=|x"], "--prompts: 'red=|x' is no label"),
        (["--prompts", "red,red=crimson"], "the label 'red' is named twice"),
        (["--prompts", "red", "--input", "image"], "--prompts: they compare an image with texts"),
        (["--subgroup", "sec"], "--subgroup: the store"),
        (["--truth", "none.csv"], "none.csv"),
        (["--rows", "1"], "--rows: must be at least 2"),
    ],
)
def test_bad_input_ends_with_a_sentence(
    world: Path, patched: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["align", "--run", str(world / "run"), "--out", str(tmp_path / "out"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_vocabulary_is_refused(world: Path, patched: None, tmp_path: Path) -> None:
    store, _ = prepared(tmp_path / "other", rows=30, words=(*WORDS[:-2], *reversed(WORDS[-2:])))  # blue before green
    with pytest.raises(UserError, match=r"was trained with another vocabulary of 'report' than that of .* --like"):
        mj.align(world / "run", store=store, out=tmp_path / "out")


def test_prompts() -> None:
    assert read_prompts(["edema=swelling|dry lungs", "pleural_effusion"]) == [
        ("edema", "swelling", "dry lungs"),
        ("pleural_effusion", "pleural effusion", "no pleural effusion"),
    ]


def test_sentences_are_shown_beside_the_image_and_words_on_request_alone(
    world: Path, patched: None, tmp_path: Path
) -> None:
    run = Run.open(world / "run")
    (hidden,) = mj.explain(run, method="sentences", top=3, out=tmp_path / "hidden")
    maps = np.load(hidden.directory / "sentences.npz")
    truth = pl.read_csv(world / "truth.csv").to_dicts()
    cells = {(one["key"], one["sentence"]): (one["y"] // 32, one["x"] // 32) for one in truth}
    for key, sentence, alignment, cosine in zip(
        maps["keys"], maps["sentence"], maps["alignment"], maps["cosine"], strict=True
    ):
        for values in (alignment, cosine):
            assert np.unravel_index(int(values.argmax()), (4, 4)) == cells[key, sentence]
    page = (hidden.directory / "sentences.html").read_text()
    is_closed(page)
    assert "Sentence 1" in page
    (shown,) = mj.explain(run, method="sentences", individuals="row6", show_text=True, out=tmp_path / "shown")
    assert "square" not in page + json.dumps(hidden.about)
    assert "there is a" in (shown.directory / "sentences.html").read_text()
    assert "there is a" in json.dumps(shown.about)
    assert [one["key"] for one in shown.about["details"]["sentences"]] == ["row6", "row6"]


def test_a_phrase_draws_one_map(world: Path, patched: None, tmp_path: Path) -> None:
    run = Run.open(world / "run")
    (found,) = mj.explain(run, text="a red square", out=tmp_path / "phrase")
    assert len(found.pictures) == 1
    assert found.about["details"]["sentences"][0]["sentence"] == -1
    key, (row, column) = (found.about["details"]["sentences"][0][name] for name in ("key", "region"))
    truth = pl.read_csv(world / "truth.csv").filter(key=key, finding="red").to_dicts()
    assert (truth[0]["y"] // 32 + 1, truth[0]["x"] // 32 + 1) == (row, column)
    for text, sentence in ((" ", "--text: give words"), ("square " * 30, "has 30 tokens, and a report")):
        with pytest.raises(UserError, match=sentence):
            mj.explain(run, text=text, out=tmp_path / "bad")
    with pytest.raises(UserError, match="--text: it is of the method sentences"):
        mj.explain(run, text="red", method="saliency", out=tmp_path / "bad")
    with pytest.raises(UserError, match="--show-text: it is of the method sentences"):
        mj.explain(run, show_text=True, method="saliency", out=tmp_path / "bad")
    assert found.about["of"] == "where a phrase points in image"
    assert "The map of the phrase over the image." in (found.directory / "sentences.html").read_text()


def test_without_a_common_space_of_pooled_features_a_phrase_needs_a_key(
    world: Path, patched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def local_alone(*given: Any) -> Side:
        return dataclasses.replace(encode_side(*given), projected=None)

    monkeypatch.setattr(sentences, "encode_side", local_alone)
    run = Run.open(world / "run")
    with pytest.raises(UserError, match=r"--text: the pooled features of .* name one with --individuals KEY"):
        mj.explain(run, text="a red square", out=tmp_path / "bad")
    (found,) = mj.explain(run, text="a red square", individuals="row6", out=tmp_path / "named")
    assert found.about["details"]["sentences"][0]["key"] == "row6"
