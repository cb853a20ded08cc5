"""`mmcl explain`: the folder that it writes, its answer in JSON, and what it refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.explain import METHODS, Explanation, explanations_of
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.columns import Columns, read_groups
from mmcl_jax.explain.integrated_gradients import integrated_gradients
from mmcl_jax.explain.ranking import draw_ranking
from mmcl_jax.explain.run import explain_run, in_float32
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.run import Run
from tests.explain.conftest import Plant
from tests.explain.test_planted import head_of, linear

FILES = {"explanation.json", "attributions.parquet", "ranking.png", "ranking.svg", "checksums.json"}


def test_the_folder_and_the_answer(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = plant(linear)
    words = ["explain", "--run", str(run.directory), "--rows", "7", "--top", "2", "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    (told,) = answer["explanations"]
    folder = tmp_path / "out" / "integrated_gradients-table"
    assert {path.name for path in folder.iterdir()} == FILES
    read = Explanation.read(folder)
    assert {"directory": str(folder), **read.about} == told
    assert told["rows"] == 7
    assert told["input"] == "table"
    assert told["split"] == "test"
    assert sorted(column["rank"] for column in told["columns"]) == [1, 2, 3, 4]
    assert [column["name"] for column in told["columns"]] == ["size", "price", "kind", "noise"]
    assert sum(column["share"] for column in told["columns"]) == pytest.approx(1)
    assert "integrated_gradients: the 8 dimensions" in err
    assert f"--rows 7 --top 2 --out {tmp_path / 'out'}" in told["made_by"]["command"]
    frame = pl.read_parquet(folder / "attributions.parquet")
    assert frame.schema["attributions"] == pl.Array(pl.Float32, 4)
    assert len(frame) == 7
    assert set(frame["key"]) <= set(run.store().keys("test"))
    assert explanations_of(run, tmp_path / "out")[0].about == read.about
    assert read.to_frame()["rank"].to_list() == [1, 2, 3, 4]


def test_pictures_have_words_and_the_colours_of_the_groups(plant: Plant, folder: Path) -> None:
    run = plant(linear)
    (found,) = explain_run(run, run.store(), ExplainOptions(top=3), folder=folder)
    png, svg = found.directory / "ranking.png", found.directory / "ranking.svg"
    assert set(found.pictures) == {png, svg}
    words = found.pictures[svg]
    assert all(column["name"] in words for column in found.columns[:3])
    assert "morphometric" in words
    text = svg.read_text()
    title = ElementTree.fromstring(text).find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert "Integrated gradients" in str(title.text)
    assert text.count("#e69f00")
    assert text.count("#0072b2")
    pixels = np.asarray(Image.open(png).convert("RGB")).reshape(-1, 3)
    for colour in ((0xE6, 0x9F, 0x00), (0x00, 0x72, 0xB2)):
        assert (pixels == colour).all(axis=1).sum() > 100


def test_a_second_call_replaces_and_a_failed_one_leaves_the_first(
    plant: Plant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plant(linear)
    options = ExplainOptions(rows=5)
    explain_run(run, run.store(), options, folder=folder)
    (second,) = explain_run(run, run.store(), dataclasses.replace(options, rows=6), folder=folder)
    assert second.about["rows"] == 6

    def fails(subject: Any, partial: Path) -> None:
        integrated_gradients(subject, partial)
        raise RuntimeError("stopped")

    method = dataclasses.replace(METHODS["integrated_gradients"], explain=fails)
    monkeypatch.setitem(METHODS, "integrated_gradients", method)
    with pytest.raises(RuntimeError, match="stopped"):
        explain_run(run, run.store(), options, folder=folder)
    assert [path.name for path in folder.iterdir()] == ["integrated_gradients-table"]
    assert explanations_of(run, folder)[0].about == second.about
    (second.directory / "attributions.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match="make it again with mmcl explain"):
        Explanation.read(second.directory)


def test_the_error_that_is_left_at_the_cap_is_told(plant: Plant, folder: Path) -> None:
    def steep(model: Any) -> None:
        model.encoders["table"].layers[0].kernel[...] *= 1e3

    run = plant(steep)
    (found,) = explain_run(run, run.store(), ExplainOptions(max_steps=12, tolerance=1e-9), folder=folder)
    completeness = found.about["details"]["completeness"]
    assert found.about["settings"]["steps"] == 12
    assert completeness["reached"] is False
    assert completeness["error"] > 1e-9
    assert "most steps that were tried" in " ".join(found.about["notes"])
    frame = found.attributions()
    assert completeness["error"] == pytest.approx(frame["error"].sum() / frame["change"].sum(), rel=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"methods": ("integrated_gradient",)}, "there is no method 'integrated_gradient'.*integrated_gradients"),
    "no method": ({"methods": ()}, "name at least one of ablation"),
    "input": ({"inputs": ("tables",)}, "there is no input 'tables'.*table"),
    "pixels": ({"inputs": ("image",)}, "the pixels of image are explained for one number"),
    "split": ({"split": "tests"}, "no split 'tests'|tests"),
    "rows": ({"rows": 0}, "--rows: give a positive"),
    "steps": ({"steps": 0}, "--steps: give a positive"),
    "max steps": ({"max_steps": -1}, "--max-steps: give a positive"),
    "tolerance": ({"tolerance": 0.0}, "--tolerance: give a number above 0"),
    "NaN": ({"tolerance": float("nan")}, "--tolerance: give a number above 0"),
    "baseline": ({"baseline": "median"}, "there is no baseline 'median'.*zero, mean"),
    "replacement": ({"replacement": "noise"}, "there is no replacement 'noise'"),
    "term": ({"methods": ("loss",), "term": "clip"}, "no term 'clip'.*clip/image-table"),
    "reference": ({"methods": ("loss",), "reference_split": "test"}, "must be of another split"),
    "temperature": ({"methods": ("loss",), "temperature": -1.0}, "--temperature: give a number above 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_are_refused_before_anything_is_written(case: str, plant: Plant, folder: Path) -> None:
    options, sentence = REFUSED[case]
    run = plant(linear)
    with pytest.raises(UserError, match=sentence):
        explain_run(run, run.store(), ExplainOptions(**options), folder=folder)
    assert not folder.exists() or not any(folder.iterdir())


@pytest.mark.parametrize(
    ("output", "number", "sentence"),
    [("m9", False, "no output 'm9'.*m0, m1, m2, predicted"), ("predicted", True, "no output 'predicted'")],
)
def test_outputs_that_a_head_lacks(plant: Plant, folder: Path, output: str, number: bool, sentence: str) -> None:
    run = plant(linear)
    head = head_of(run, ("table",), number=number)
    with pytest.raises(UserError, match=sentence):
        explain_run(run, run.store(), ExplainOptions(output=output), folder=folder, head=head, head_name="h")
    with pytest.raises(UserError, match="explains no head"):
        explain_run(run, run.store(), ExplainOptions(methods=("loss",)), folder=folder, head=head, head_name="h")


def test_heads_of_raw_columns_and_options_without_a_head(plant: Plant, folder: Path) -> None:
    run = plant(linear)
    head = head_of(run, ("table",))
    raw = dataclasses.replace(head, source=dataclasses.replace(head.source, kind="raw"))
    with pytest.raises(UserError, match="reads raw columns or pixels"):
        explain_run(run, run.store(), ExplainOptions(), folder=folder, head=raw, head_name="h")
    assert main(["explain", "--run", str(run.directory), "--output", "m1"]) == 2


GROUPS: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "groups.json is damaged"),
    "no object": ("[]", "groups.json must be an object, not a list"),
    "no list": ('{"a": "size"}', "groups.json: a must be a list, not 'size'"),
    "twice": ('{"a": ["size"], "b": ["size"]}', "is in 'a' and in 'b'; name it once"),
    "no name": ('{"a": [["size"]]}', "which is no name"),
}


@pytest.mark.core
@pytest.mark.parametrize("case", GROUPS)
def test_files_of_groups(case: str, tmp_path: Path) -> None:
    text, sentence = GROUPS[case]
    path = tmp_path / "groups.json"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_groups(path)


def test_a_group_of_a_column_that_no_explained_input_has(plant: Plant, folder: Path, tmp_path: Path) -> None:
    run = plant(linear)
    (tmp_path / "groups.json").write_text('{"a": ["size"], "b": ["prize"]}')
    with pytest.raises(UserError, match=r"'b' names the column 'prize'.*'price'.*size, price, kind, noise"):
        explain_run(run, run.store(), ExplainOptions(), folder=folder, groups=tmp_path / "groups.json")
    assert not folder.exists()


@pytest.mark.core
def test_ranks_shares_and_groups() -> None:
    columns = Columns(("a", "b", "c"), ("size", "other", "size"))
    ranked = columns.ranked(np.array([1.0, 5.0, 1.0]), np.array([-1.0, 5.0, 0.5]))
    assert [column["rank"] for column in ranked] == [2, 1, 3]  # the first of equals first
    assert [column["mean"] for column in ranked] == [-1.0, 5.0, 0.5]
    assert [(group["name"], group["columns"], group["importance"]) for group in columns.summed(ranked)] == [
        ("size", 2, 2.0), ("other", 1, 5.0),
    ]  # fmt: skip
    assert all(column["share"] == 0 for column in columns.ranked(np.zeros(3)))
    many = Columns(tuple(map(str, range(12))), tuple(f"g{i}" for i in range(12)))
    assert len(set(list(many.colours.values())[:7])) == 7


def test_explanations_are_computed_in_float32(begun: Run) -> None:
    config = from_plain(to_plain(begun.config))
    config.dtype = "bfloat16"
    half = dataclasses.replace(begun, config=config)
    assert in_float32(half).config.dtype == "float32"
    assert half.config.dtype == "bfloat16"


@pytest.mark.core
def test_names_of_any_letters_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ("$x^2$", "<b>&amp;", "车长", "a\x1b[2J", "x" * 100)
    columns = Columns(names, ("other", "größe", "other", "$g$", "other"))
    ranked = columns.ranked(np.arange(5.0, 0, -1))
    for picture in draw_ranking(ranked, columns.summed(ranked), tmp_path, title="T", rows=1, top=9):
        assert "$x^2$" in picture.alternative
        assert "\x1b" not in picture.alternative
    texts = "".join(ElementTree.parse(tmp_path / "ranking.svg").getroot().itertext())
    for name in ("$x^2$", "<b>&amp;", "车长", "größe", "$g$"):
        assert name in texts
