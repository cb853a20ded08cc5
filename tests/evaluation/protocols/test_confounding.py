"""What embeddings know of covariates, on planted truth, and retrieval among people of one stratum."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import r2_score, roc_auc_score

import mmcl_jax as mj
from mmcl_jax.api.scores import Scores
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols import confounding
from mmcl_jax.evaluation.protocols.confounding import predicted, ranks_within, within_strata
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.file import ResultsFile, read_entries
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.confounders import Confounder, confounders_of
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.report.scored import Scored
from mmcl_jax.training.runs.run import Run

N = 80


@pytest.mark.core
def test_planted_covariates_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(200), 2)  # two eyes
    sex, component = rng.integers(0, 2, 200)[people].astype(float), rng.normal(size=200)[people]
    features = rng.normal(size=(400, 12))
    features[:, 0] += 3 * sex
    features[:, 1:3] += component[:, None]
    found = predicted(features, sex, people, coded=True)
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]
    assert found["auroc_low"] > 0.9
    assert found["people"] == 200
    number = predicted(features, component, people, coded=False)
    # Two eyes and two dimensions, each with noise of variance 1: the noise of the best guess has variance 1 / 4.
    assert number["r2_low"] < 0.8 < number["r2_high"]
    classes = np.digitize(component, (-0.5, 0.5)).astype(float)
    assert predicted(features, classes, people, coded=True)["auroc_low"] > 0.7
    other = predicted(features, rng.integers(0, 2, 200)[people].astype(float), people, coded=True)
    assert other["auroc_low"] < 0.5 < other["auroc_high"] < 0.65


@pytest.mark.core
def test_the_other_eye_of_a_person_tells_nothing() -> None:
    """Each person has features and a number of their own, the same for both eyes: rows in train and test would leak."""
    rng, people = np.random.default_rng(1), np.repeat(np.arange(60), 2)
    found = predicted(rng.normal(size=(60, 100))[people], rng.normal(size=60)[people], people, coded=False)
    assert found["r2_low"] < 0
    assert found["r2"] < 0.2


@pytest.mark.core
def test_retrieval_by_a_stratum_vanishes_within_it() -> None:
    """Both projections know the sex and nothing else, so the partner is found among all, but not among the same sex."""
    rng, people = np.random.default_rng(2), np.repeat(np.arange(100), 2)
    sex = (np.arange(100) % 2)[people]
    sides = [np.concatenate([8 * np.eye(2)[sex], rng.normal(size=(100, 4))[people]], axis=1) for _ in range(2)]
    found = within_strata(*sides, sex, people, names=("image", "pgs"))
    assert found["chance_recall@1"] == pytest.approx(
        1 / 99
    )  # of 49 other people of the sex, both eyes, and the own row
    assert found["chance_recall@1_all"] == pytest.approx(1 / 199)
    assert found["image_to_pgs_recall@1"] == found["image_to_pgs_recall@1_all"]
    assert found["image_to_pgs_recall@1_low"] <= 3 / 99
    knows = [np.concatenate([8 * np.eye(2)[sex], 20 * np.eye(100)[people]], axis=1)] * 2
    both = within_strata(*knows, sex, people, names=("image", "pgs"))
    assert both["image_to_pgs_recall@1"] == both["pgs_to_image_recall@1"] == 1  # the other eye is no candidate
    assert both["people"] == 100


@pytest.mark.core
def test_ranks_as_the_reference() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    strata, people = rng.integers(0, 3, 30), np.arange(30) // 2
    ranks, counts = ranks_within(first, second, strata, people)
    for row in range(30):
        others = [at for at in range(30) if strata[at] == strata[row] and people[at] != people[row]]
        assert counts[row] == 1 + len(others)
        assert ranks[row] == 1 + sum(first[row] @ second[at] >= first[row] @ second[row] for at in others)
    collapsed, _ = ranks_within(np.ones((8, 2)), np.ones((8, 2)), np.zeros(8, int), np.arange(8))
    assert (collapsed == 8).all()  # ties count against the method


@pytest.mark.core
def test_metrics_of_draws_are_those_of_the_drawn_rows() -> None:
    rng = np.random.default_rng(4)
    labels, outputs = rng.integers(0, 3, 40), np.round(rng.normal(size=(40, 3)), 1)  # some are equal
    rows = rng.integers(0, 40, 40)
    counts = np.bincount(rows, minlength=40)[None]
    expected = np.mean([roc_auc_score(labels[rows] == code, outputs[rows, code]) for code in range(3)])
    np.testing.assert_allclose(confounding._aurocs(labels, outputs, counts), expected)
    two = confounding._aurocs(labels % 2, outputs[:, :1], counts)
    np.testing.assert_allclose(two, roc_auc_score(labels[rows] % 2, outputs[rows, 0]))
    numbers, guesses = rng.normal(size=(2, 40))
    np.testing.assert_allclose(confounding._r2s(numbers, guesses, counts), r2_score(numbers[rows], guesses[rows]))


@pytest.mark.core
def test_strata_are_classes_or_quarters() -> None:
    numbers = Confounder("component", np.array([5.0, 1, np.nan, 2, 4, 3, 6, 7, 8]), coded=False)
    assert numbers.strata().tolist() == [2, 0, -1, 0, 1, 1, 2, 3, 3]
    assert Confounder("sex", np.array([2.0, 1, np.nan, 2]), coded=True).strata().tolist() == [1, 0, -1, 1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(0)
    sex = rng.integers(0, 2, N)
    table = pl.DataFrame(
        {
            "key": [f"row{row}" for row in range(N)],
            "sex": np.where(sex == 1, "m", "f"),
            "component": rng.normal(size=N),
            "rare": ["yes" if row % 27 == 0 else "no" for row in range(N)],
        }
    )
    pixels = (rng.integers(0, 60, (N, 8, 8, 1)) + 150 * sex[:, None, None, None]).astype(np.uint8)
    schema = {"columns": {"sex": {"kind": "categorical"}}}
    return mj.prepare(
        table, pixels, key_column="key", split=(0.1, 0.1, 0.8), schema=schema,
        out=tmp_path_factory.mktemp("confounded") / "store",
    )  # fmt: skip


@pytest.fixture
def run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The initial weights, as if they had been trained."""
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "planted", str(store.directory), 8, 1
    config.inputs = {"image": input(), "table": input(missing="mean")}
    config.views = {"image": view("resized"), "table": view("rows")}
    config.encoders = {"image": encoder("cnn", channels=(4,)), "table": encoder("table_mlp", hidden=4, features=4)}
    config.projectors = {name: projector("mlp", hidden=4, out=4) for name in ("image", "table")}
    config.objective = (term("clip", between=("image", "table")),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)

    def model(run: Run) -> Any:
        return run.untrained_model()

    monkeypatch.setattr(Run, "model", model)
    monkeypatch.setattr(Source, "of", lambda source: {"source": source.kind, "run": "planted", "state": "untrained"})
    return Run.begin(tmp_path / "run", config, store, Inputs.fit(config.inputs, store))


def test_a_run_is_evaluated_and_its_scores_are_kept(run: Run, store: Store, tmp_path: Path) -> None:
    options = EvaluationOptions(protocols=("confounding",), confounders=("sex", "component"), baselines=("random",))
    path = tmp_path / "results.json"
    results = ResultsFile(path, store=store.fingerprint, sources=[], head={})
    scores = evaluate_runs([run], store, options, records=results, log=lambda line: None)
    assert [(score.method, score.input, score.label) for score in scores] == [
        (method, input, label)
        for method in ("random encoder", "planted")
        for label in ("sex", "component")
        for input in ("image", "image-table")
    ]
    by_label = {(score.label, score.input): score.metrics for score in scores if score.method == "planted"}
    assert by_label["sex", "image"]["auroc"] == 1  # the pixels are brighter
    assert by_label["component", "image"]["r2"] < 0.3
    assert by_label["sex", "image"]["people"] == len(store.rows_of("test"))
    within = by_label["sex", "image-table"]
    assert within["chance_recall@1"] > within["chance_recall@1_all"]
    written = [{k: v for k, v in entry.items() if k not in ("of", "mmcl_jax")} for entry in read_entries(path)]
    assert sorted(map(str, map(Score.from_json, written))) == sorted(map(str, scores))
    grids = Scores(tuple(scores)).grids
    assert [grid.title.partition(",")[0] for grid in grids] == [
        "Covariates predicted from the test split's image", "Retrieval within strata",
    ]  # fmt: skip
    assert grids[0].rows[1][:4] == ["sex", "planted", "AUROC", "1.000 [1.000, 1.000]"]
    assert len(grids[1].rows) == 8
    again = evaluate_runs([run], store, options, records=results, log=lambda line: None)
    assert again == scores
    assert results.reused == len(scores)
    assert Scored(tuple(scores), 0, ()).part() == []


def test_covariates_that_cannot_be_predicted(store: Store) -> None:
    every, remarks = confounders_of(store, ("sex", "component"))
    assert [one.coded for one in every] == [True, False]
    assert remarks == []
    for names, sentence in (
        ((), "has no entry 'covariates'; name covariates with --confounders"),
        (("sexes",), r"no entry, column or feature 'sexes' \(did you mean 'sex'\?\)"),
        (("rare",), "--confounders rare: its second class has fewer than 10 people"),
    ):
        with pytest.raises(UserError, match=sentence):
            confounders_of(store, names)


@pytest.mark.core
def test_options() -> None:
    assert EvaluationOptions(confounders=("sex",)).protocols == ("probe", "confounding")  # beside all other scores
    with pytest.raises(UserError, match="--protocol confounding: it compares whole rows"):
        EvaluationOptions(protocols=("confounding", "probe"), missing=(0.5,))
