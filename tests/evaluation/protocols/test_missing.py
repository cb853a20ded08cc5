"""`mmcl evaluate --missing`: heads are trained and tested on rows with hidden cells."""

import dataclasses
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from threadpoolctl import threadpool_limits

from examples.cohort import draw
from mmcl_jax.api.commands.evaluate import evaluate
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import OPTIONS, Inputs
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols import boosting
from mmcl_jax.evaluation.protocols.boosting import TabularFeatures
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.file import read_entries
from mmcl_jax.evaluation.results.plot import plot_missing
from mmcl_jax.evaluation.results.summary import grids, show
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import STRATEGIES, Hiding, Missingness, hiding_cells
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.report.scored import scored
from mmcl_jax.report.sections.results import results
from mmcl_jax.report.subject import groups_of, subjects_of
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

FAST = {"learning_rates": [1e-2], "max_epochs": 2, "draws": 1}


def quiet(line: str) -> None:
    """Drop what is said."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A pretraining on images and a table of three columns; the weight of some persons is missing in the data."""
    root = tmp_path_factory.mktemp("people")
    raw = draw(root)
    entries = {name: raw["entries"][name] for name in ("image", "table")}
    targets = {name: raw["targets"][name] for name in ("grade", "pressure")}
    store = prepare(
        Request(key_column="eid", split=(0.5, 0.25, 0.25), folds=3, entries=entries, targets=targets), root / "store"
    )
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "people", str(store.directory), 16, 1
    config.monitor.epochs, config.batch_norm.group_size = 9, 8
    config.inputs = {"image": input(), "table": input(missing="token")}
    config.views = {"image": view("augment"), "table": view("scarf", modality="table", rate=0.3)}
    config.encoders = {"image": encoder("cnn", channels=(4,)), "table": encoder("table_mlp", hidden=8, features=8)}
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "table")}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return pretrain(config, root / "run", log=quiet).run


def test_scores_have_their_share_and_strategy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads no table is scored once; every score has an identity of its own, and is found again."""
    monkeypatch.setattr(boosting, "TREES", 2)
    monkeypatch.setattr(boosting, "RATES", (0.3,))
    how = {
        "protocol": ["probe", "knn", "finetune", "features"],
        "input": ["image", "image+table"],
        "missing": [0, 0.7],
        "label": "pressure",
        "missing_by": ["cells", "most_important"],
        "seeds": 1,
        "learning_rates": 1e-2,
        "max_epochs": 1,
        "baselines": ["pixels", "columns"],
        "out": tmp_path / "results.json",
    }
    with threadpool_limits(1):
        scores = evaluate(run, **how)
    kinds = [("", 0.0), ("cells", 0.7), ("most_important", 0.7)]
    for protocol in how["protocol"]:
        for given in ("image", "both"):
            part = [score for score in scores if (score.protocol, score.input) == (protocol, given)]
            for method in {score.method for score in part}:
                found = [(score.missing_by, score.missing) for score in part if score.method == method]
                reads = given == "both" or "columns" in method
                assert found == (kinds if reads else kinds[:1]), (protocol, given, method)
    by_method = {(s.method, s.protocol, s.missing_by, s.missing): s.metrics for s in scores if s.input == "both"}
    for method, protocol, by, rate in by_method:
        if by:  # the table has another say
            assert by_method[method, protocol, by, rate]["mae"] != by_method[method, protocol, "", 0.0]["mae"]
    order = {tuple(score.order.get("table", ())) for score in scores if score.missing_by == "most_important"}
    assert [sorted(columns) for columns in order] == [["age", "bmi", "sex"]]

    frame = scores.to_frame()
    assert frame["missing"].unique().sort().to_list() == [0.0, 0.7]
    entries = read_entries(tmp_path / "results.json")
    assert len(entries) == len(scores)
    assert {entry["of"].get("missing", 0) for entry in entries} == {0, 0.7}
    assert all(("missing_by" in entry["of"]) == (entry["missing"] > 0) for entry in entries)  # whole rows are as before
    again = evaluate(run, **{**how, "missing": [0.7], "missing_by": ["cells"], "protocol": "probe"})
    assert "found 4 scores" in again.note  # three methods of both, and images once
    assert all(score in list(scores) for score in again)

    text = io.StringIO()
    show(scores.grids, Console(file=text, width=200))
    probe = text.getvalue().partition("Linear probe on images and tables")[2]
    assert "random cells hidden" in probe
    assert "0 % hidden | 70 % hidden" in probe
    assert "Columns in the order in which they are hidden: " in probe
    part = [score for score in scores if (score.protocol, score.input) == ("probe", "both")]
    plot_missing(part, "cells", tmp_path / "cells.png", title="x", metrics=("mae", "pearson"))
    assert (tmp_path / "cells.png").stat().st_size > 10_000
    groups = groups_of(subjects_of([run], store=None, most=1))
    found = scored(groups, [tmp_path / "results.json"])
    assert len(found.scores) == len(scores)
    assert {score.missing for score in found.part()} == {0.0}
    page = str(results(groups, found))
    assert "percent of the table hidden" in page
    assert "hidden by most_important" in page


def test_all_splits_are_hidden_before_they_are_encoded(run: Run) -> None:
    """By the policy of the run: NaN for a token, the training mean of whole rows for the mean."""
    store = run.store()
    data = LabelledStore.of(store, "grade")
    hidden = hiding_cells(data, Hiding(data), Missingness(0.5, "cells"), seed=run.config.seed)
    columns = TabularFeatures.of_columns(hidden.store, data.rows, None).by_split
    mean = Inputs.fit({**run.config.inputs, "table": {**OPTIONS, "missing": "mean"}}, store)
    imputed = dataclasses.replace(run, inputs=mean)
    for split in ("train", "val", "test"):
        whole = np.asarray(store.read(split, ["table"])["table"])
        seen = np.asarray(hidden.store.read(split, ["table"])["table"])
        gone = np.isnan(seen)
        assert 0.2 < gone.mean() < 0.8
        tokens = Source("run", run).inputs(hidden.store, split, "table")
        np.testing.assert_array_equal(np.isnan(tokens), gone)
        np.testing.assert_array_equal(tokens[~gone], Source("run", run).inputs(store, split, "table")[~gone])
        filled = Source("run", imputed).inputs(hidden.store, split, "table")
        fill = mean.encoding.encode(np.full((1, 3), np.nan))
        np.testing.assert_array_equal(filled, np.where(gone, fill, mean.encoding.encode(np.nan_to_num(whole))))
        np.testing.assert_array_equal(np.isnan(columns[split]), gone[data.rows[split]])


def test_one_source_reads_what_each_label_and_share_hides(run: Run) -> None:
    """Strategies may depend on the label, and inputs and features of a source are kept."""
    store, source = run.store(), Source("run", run)
    hidings = [Hiding(LabelledStore.of(store, label)) for label in ("grade", "pressure")]
    seen = set()
    for rate, hiding in itertools.product((0.5, 0.5000001, 0.8), hidings):
        data = hiding_cells(hiding.data, hiding, Missingness(rate, "label"), seed=0)
        gone = np.isnan(np.asarray(data.store.read("train", ["table"])["table"]))
        np.testing.assert_array_equal(np.isnan(source.inputs(data.store, "train", "table")), gone)
        features = source.features(data, "table")["train"]
        assert len(np.unique(features[gone.all(axis=1)[data.rows["train"]]].round(4), axis=0)) <= 1
        seen.add(gone.tobytes())
    assert len(seen) >= 4


@pytest.mark.parametrize("by", STRATEGIES)
def test_every_strategy_on_folds(run: Run, by: str) -> None:
    store = run.store()
    runs = [dataclasses.replace(run, inputs=Inputs.fit(run.config.inputs, store, fold=fold)) for fold in (0, 1)]
    options = EvaluationOptions(
        protocols=("knn",),
        inputs=("table",),
        missing=(0, 0.6),
        missing_by=(by,),
        baselines=(),
        label="pressure",
        **FAST,
    )
    scores = evaluate_runs(runs, store, options, log=quiet)
    assert [(score.fold, score.missing) for score in scores] == [(0, 0.0), (0, 0.6), (1, 0.0), (1, 0.6)]
    (*_, table, _) = grids(scores)
    assert table.head == ["features", "labels", "0 % hidden", "60 % hidden"]


def test_what_cannot_be_hidden_is_said_before_anything_is_computed(run: Run) -> None:
    store = run.store()

    def refused(run: Run, **options: object) -> str:
        with pytest.raises(UserError) as caught:
            evaluate_runs([run], store, EvaluationOptions(missing=(0, 0.5), **options), log=quiet)
        return str(caught.value)

    assert "--missing: image read no table" in refused(run, inputs=("image",))
    inputs = {"refuse": {"missing": "refuse"}, "label": {"missing": "token", "label_as_feature": True}}
    changed = {
        name: dataclasses.replace(run, inputs=Inputs.fit({**run.config.inputs, "table": {**OPTIONS, **options}}, store))
        for name, options in inputs.items()
    }
    sentence = refused(changed["refuse"], inputs=("table",))
    assert "config.inputs.table.missing='refuse'" in sentence
    assert "--config.inputs.table.missing=mean|iterative|token|indicator" in sentence
    assert "label_as_feature=False" in refused(changed["label"], inputs=("table",), label="pressure")
