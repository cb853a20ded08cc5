"""Vectors, texts and rows that lack an input are explained too, and losses with labels and groups."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.config import input, term
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.attributed import _by_token
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.losses.loss import inputs_of_loss
from mmcl_jax.explain.run import explain_run
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.run import Run
from tests.data.many import FEATURES, WORDS, store_of
from tests.data.test_inputs import config_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("kinds") / "store")


@pytest.fixture
def run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The initial weights, as if they had been trained."""
    config = config_of(store, "report", "scores", "table", calls=input(missing="mean"))
    grade = {"labels": "attract", "target": "grade"}
    config.objective = (term("clip", between=("report", "scores")), term("clip", between=("report", "table"), **grade))

    def model(run: Run) -> Model:
        return run.untrained_model()

    monkeypatch.setattr(Run, "model", model)
    monkeypatch.setattr(Run, "step", lambda run: 0)
    return Run.begin(tmp_path / "run", config, store, Inputs.fit(config.inputs, store))


def test_vectors_and_texts_are_explained(run: Run, store: Store, tmp_path: Path) -> None:
    found = explain_run(run, store, ExplainOptions(split="train", steps=64), folder=tmp_path / "out")
    by_input = {one.about["input"]: one for one in found}
    assert set(by_input) == {"report", "scores", "table", "calls"}
    assert {name: one.about["rows"] for name, one in by_input.items()} == {
        "report": 16, "table": 16, "scores": 12, "calls": 6,
    }  # fmt: skip
    assert [column["name"] for column in by_input["scores"].about["columns"]] == [
        f"scores {i}" for i in range(FEATURES)
    ]
    assert [column["name"] for column in by_input["report"].about["columns"]] == list(WORDS)
    assert all(one.about["details"]["completeness"]["error"] < 1e-2 for one in found)
    calls = by_input["calls"].attributions()["attributions"].to_numpy()
    assert calls[0, 2] == 0 < calls[1, 2]  # a missing value is the mean, which is the baseline

    texts = np.asarray(Source("run", run).inputs(store, "train", "report"))[..., 0]
    vectors = np.asarray(run.model().encoders["report"].table[...])
    closed = np.zeros((len(texts), len(WORDS)))
    for row, text in enumerate(texts):
        tokens = text[text >= 0]
        for token in tokens:  # a text is the mean over its tokens
            closed[row, token] += np.abs(vectors[token]).mean() / len(tokens)
    importance = [column["importance"] for column in by_input["report"].about["columns"]]
    np.testing.assert_allclose(importance, closed.mean(axis=0), rtol=1e-4, atol=1e-7)


def test_tokens_that_occur_twice_are_added() -> None:
    texts = np.array([[[1, 0], [1, 0], [-1, -1]]])
    assert _by_token(np.array([[1.0, 2.0, 9.0]], np.float32), texts, 3).tolist() == [[0, 3, 0]]


def test_a_text_has_no_mean(run: Run, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="have no mean; use --baseline zero"):
        explain_run(run, store, ExplainOptions(baseline="mean", inputs=("report",)), folder=tmp_path / "out")


def test_losses_with_labels_and_rows_that_lack_an_input(run: Run, store: Store, tmp_path: Path) -> None:
    """A row that lacks the scores takes part in the term of the table alone, and `--term` leaves the others out."""
    options = ExplainOptions(methods=("loss",), inputs=("report",), split="train", steps=64)
    (found,) = explain_run(run, store, options, folder=tmp_path / "out")
    frame = found.attributions()
    assert len(frame) == 16
    assert found.about["settings"]["reference_of_terms"] == {"clip/report-scores": 3, "clip/report-table": 4}
    left = frame["change"].to_numpy() - frame["attributions"].to_numpy().sum(axis=1)
    np.testing.assert_allclose(left, frame["error"].to_numpy(), atol=1e-6)
    assert np.abs(left).max() < 1e-3 < np.abs(frame["change"].to_numpy()).max()
    subject = {"source": Source("run", run), "input": "report", "head": None}
    named = dataclasses.replace(options, term="clip/report-table")
    assert inputs_of_loss(**subject, options=named) == ("report", "table")
    with pytest.raises(UserError, match="no explained term reads it; the terms read report and scores"):
        explain_run(
            run, store, ExplainOptions(methods=("loss",), inputs=("table",), term="clip/report-scores"),
            folder=tmp_path / "out",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "given", "sentence"),
    [
        (term("nnclr", between=("table", "report"), queue=8), {}, "reads a queue"),
        (term("siglip", between=("table", "report")), {"temperature": 1.0}, "has no fixed temperature"),
        (term("byol", between=("table", "report")), {}, "reads a target network"),
    ],
)
def test_terms_that_cannot_be_explained(
    spec: object, given: dict, sentence: str, run: Run, store: Store, tmp_path: Path
) -> None:
    config = from_plain(to_plain(run.config))
    config.objective = (spec,)
    object.__setattr__(run, "config", config)
    with pytest.raises(UserError, match=sentence):
        explain_run(run, store, ExplainOptions(methods=("loss",), **given), folder=tmp_path / "out")
