"""The folder of an export: whole or not there, in strict JSON, with foreign text escaped."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import mmcl_jax as mj
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export import card as card_module
from mmcl_jax.export import folder, weights
from mmcl_jax.export.card import strict
from mmcl_jax.export.readme import escaped, readme_of
from mmcl_jax.files import damage
from mmcl_jax.lock import locked
from mmcl_jax.training.runs.run import Run
from tests.export.untrained import STEP


def card_of(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((path / "card.json").read_text(), parse_constant=refuse)


def test_an_export_is_whole_and_says_what_it_is(release: Path, digits_run: Run) -> None:
    assert damage(release) is None
    card = card_of(release)
    assert {one["file"] for one in card["files"]} == {"model.safetensors", "modeling_torch", "orbax"}
    assert all((release / one["file"]).exists() for one in card["files"])
    assert card["encoders"]["image"]["name"] == "cnn"
    assert (card["weights"], card["provenance"]["step"]) == ("average", STEP)
    assert card["provenance"]["store"] == digits_run.fingerprint
    assert card["provenance"]["command"].startswith("mmcl export --run ")
    assert card["config"]["data"] == digits_run.store().directory.name  # and not the folder of this machine
    statistics = digits_run.inputs.tables["table"].statistics
    assert [column["mean"] for column in card["preprocessing"]["table"]["columns"]] == list(statistics.mean)
    head = (release / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(head)["library_name"] == "mmcl_jax"
    assert "license" not in yaml.safe_load(head)


def test_the_same_folder_again_but_not_over_changes(release: Path, digits_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "release"
    mj.export(digits_run, out=out, input="image")
    assert card_of(mj.export(digits_run, out=out, input="table").directory)["inputs"] == ["table"]
    (out / "modeling_torch" / "__pycache__").mkdir()  # as importing it makes
    (out / "modeling_torch" / "__pycache__" / "export.pyc").write_bytes(b"")
    mj.export(digits_run, out=out, input="table")
    (out / "notes.md").write_text("mine")
    with pytest.raises(UserError, match=r"holds an export and notes\.md, which is not part of it"):
        mj.export(digits_run, out=out)
    (out / "notes.md").unlink()
    (out / "README.md").write_text("mine")
    with pytest.raises(UserError, match="holds an export that was changed"):
        mj.export(digits_run, out=out)
    assert (out / "README.md").read_text() == "mine"


def test_the_last_weights_or_their_averages(release: Path, digits_run: Run, tmp_path: Path) -> None:
    last = mj.export(digits_run, out=tmp_path / "last", average=False)
    averages = load_file(release / "model.safetensors")
    assert last.weights == "last"
    assert "--no-average" in card_of(last.directory)["provenance"]["command"]
    for average, tensors in ((False, load_file(last.directory / "model.safetensors")), (True, averages)):
        expected = digits_run.model(average=average).encoders["table"].layers[0].kernel[...]
        np.testing.assert_array_equal(tensors["encoders.table.layers.0.weight"], np.asarray(expected).T)
    assert not np.array_equal(averages["encoders.table.layers.0.weight"], expected.T * 0)


def test_scores_that_are_not_numbers_are_null(digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(draw: int, top1: float | None, step: int) -> dict:
        named = {"method": "m", "seed": 0, "protocol": "probe", "input": "image", "label": "digit", "budget": "all"}
        metrics = {"top1": top1, "loss": 0.5 + draw}
        of = {**Source("run", digits_run).of(), "step": step, "store": "t"}
        return {**named, "draw": draw, "metrics": metrics, "chosen": {}, "of": of}

    scores = [score(0, 0.75, STEP), score(1, None, STEP), score(0, 0.1, STEP - 1)]
    path = digits_run.directory / "evaluation.json"
    path.write_text(json.dumps({"scores": scores}))
    try:
        (found,) = card_of(mj.export(digits_run, out=tmp_path / "with", input="image").directory)["metrics"]
    finally:
        path.unlink()
    assert found["metrics"] == {"top1": None, "loss": {"mean": 1.0, "std": 0.5}}
    assert found["draws"] == 2


def test_no_value_of_a_card_is_not_json() -> None:
    values = {"a": float("nan"), "b": (np.float32("inf"), np.int64(3)), "c": np.array([1.5, np.nan])}
    assert json.loads(json.dumps(strict(values), allow_nan=False)) == {"a": None, "b": [None, 3], "c": [1.5, None]}


FOREIGN = '</table><script>alert(1)</script> | `x` [y](javascript:z) \x1b[2J\n---\nlicense: mit\n# big "quoted": {a}'


def test_foreign_text_stays_text(release: Path) -> None:
    card = card_of(release)
    card["name"] = card["encoders"]["image"]["name"] = card["provenance"]["command"] = FOREIGN
    card["preprocessing"]["table"]["columns"][0] |= {"name": FOREIGN, "kind": "categorical", "categories": [FOREIGN]}
    text = readme_of(card, [], license=FOREIGN)
    start, head, body = text.split("---\n", 2)
    assert start == ""
    assert yaml.safe_load(head)["license"] == FOREIGN
    assert set(yaml.safe_load(head)) == {"library_name", "pipeline_tag", "tags", "license"}
    outside = [line for line in body.splitlines() if not line.startswith("    ")]  # an indented line is code
    assert not any("<script" in line or re.search(r"(?<!\\)\]\(", line) for line in outside)
    assert "\x1b" not in body
    (row,) = [line for line in outside if line.startswith("| &lt;/table&gt;")]
    assert row.replace("\\|", "").count("|") == 4  # three cells


@pytest.mark.parametrize("text", ["a_b", "*x*", "1 | 2", "<b>", "&lt;", "`", "[a](b)", "# h", "\\", "a\nb", "~~"])
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert not set("<>") & set(shown)
    for mark in "*_`[]#|~":
        assert shown.count(mark) == shown.count(f"\\{mark}")


REFUSED = {
    "format": ({"format": "pickle"}, "--format: there is no format 'pickle'; choose from safetensors, orbax"),
    "no format": ({"format": ()}, "--format: name at least one format"),
    "input": ({"input": "audio"}, "--input: the run has no encoder of 'audio'; it has image, table"),
    "twice": ({"input": ("image+table", "both")}, "--input: an input is named twice"),
    "twice in one": ({"input": "image+image"}, "--input image+image: 'image' is named twice"),
    "step": ({"checkpoint": 3}, "has no checkpoint of step 3; it has those of 7"),
    "head": ({"head": "nowhere"}, "nowhere is no head of mmcl evaluate --keep"),
    "public": ({"public": True}, "--public: nothing is uploaded without --push"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_leaves_nothing(case: str, digits_run: Run, tmp_path: Path) -> None:
    options, sentence = REFUSED[case]
    with pytest.raises(UserError) as error:
        mj.export(digits_run, out=tmp_path / "out", **options)
    assert sentence in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_average_of_a_run_without_averages_is_refused(every_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--average: .* does not average its weights \(config\.average\.kind\)"):
        mj.export(every_run, out=tmp_path / "out", average=True)


def test_a_folder_of_something_else_is_refused(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no export; name another folder"):
        mj.export(digits_run, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_encoder_without_a_form_in_pytorch_is_refused(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "ENCODERS", tuple(name for name in weights.ENCODERS if name != "cnn"))
    with pytest.raises(UserError, match=r"the encoder 'cnn' of 'image' has no form in PyTorch.*--format orbax"):
        mj.export(digits_run, out=tmp_path / "out")
    assert mj.export(digits_run, out=tmp_path / "out", format="orbax").files == ("orbax",)  # the remedy
    assert mj.export(digits_run, out=tmp_path / "other", input="table").files[0] == "model.safetensors"


def test_two_exports_to_one_folder_do_not_mix(digits_run: Run, tmp_path: Path) -> None:
    with locked(tmp_path / ".out.lock", what="exports"), pytest.raises(UserError, match=r"exports to .*; wait until"):
        mj.export(digits_run, out=tmp_path / "out", input="table")
    mj.export(digits_run, out=tmp_path / "out", input="table")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_while_writing_leaves_nothing(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_checksums", full)
    with pytest.raises(OSError, match="No space left"):
        mj.export(digits_run, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.core
@pytest.mark.parametrize(
    "strided",
    [
        np.arange(16, dtype=np.float32).reshape(4, 4).T,
        np.arange(36, dtype=np.float32).reshape(6, 6)[::2, ::-2],
        np.asfortranarray(np.arange(81, dtype=np.float32).reshape(3, 3, 3, 3)),
        np.arange(9, dtype=np.float64)[::3],
        np.float32(3.5) * np.ones(()),
    ],
)
def test_a_strided_array_is_written_by_its_values(strided: np.ndarray, tmp_path: Path) -> None:
    weights.save(tmp_path / "one.safetensors", {"one": strided})
    found = load_file(tmp_path / "one.safetensors")["one"]
    assert (found.shape, found.dtype) == (strided.shape, strided.dtype)
    np.testing.assert_array_equal(found, strided)


def test_all_names_are_of_the_package() -> None:
    assert set(weights.ENCODERS) <= set(ENCODERS.names())


def test_a_card_names_restricted_training_data(
    release: Path, digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert card_of(release)["restriction"] is None
    assert "Restricted" not in (release / "README.md").read_text()
    recipe = {"name": "mimic_cxr", "options": [], "restriction": "for credentialed users alone."}
    origin = {"fingerprint": "", "directory": "", "recipe": recipe}
    monkeypatch.setattr(card_module, "read_origin", lambda directory: origin)
    out = mj.export(digits_run, out=tmp_path / "out", input="image").directory
    assert card_of(out)["restriction"] == "mimic_cxr: for credentialed users alone."
    assert "## Restricted training data\n\nmimic\\_cxr: for credentialed" in (out / "README.md").read_text()
