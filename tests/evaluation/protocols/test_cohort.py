"""A cohort of images and scores that some lack, with targets of every kind: masks, several labels, folds."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from examples.cohort import draw
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.monitor import monitor
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.retrieval import retrieval
from mmcl_jax.evaluation.results.summary import ScoreCell, grids, summarise
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

FAST = {"learning_rates": [1e-2], "max_epochs": 2, "draws": 1}


def quiet(line: str) -> None:
    """Drop what is said."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A pretraining on an image and scores."""
    root = tmp_path_factory.mktemp("cohort")
    raw = draw(root)
    for path in (root / "discs").iterdir():  # the mask is bright in the picture
        picture = root / "left" / f"{path.stem}_0.png"
        bright = np.asarray(Image.open(path))[..., None] // 2
        Image.fromarray(np.asarray(Image.open(picture)) // 4 + bright).save(picture)
    entries = {name: raw["entries"][name] for name in ("image", "pgs", "table")}
    targets = {name: raw["targets"][name] for name in ("grade", "pressure", "diseases", "disc")}
    store = prepare(
        Request(key_column="eid", split=(0.5, 0.25, 0.25), folds=3, entries=entries, targets=targets), root / "store"
    )
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "scores", str(store.directory), 16, 1
    config.monitor.epochs, config.batch_norm.group_size = 9, 8
    config.inputs = {"image": input(), "pgs": input()}
    config.views = {"image": view("augment"), "pgs": view("vector", modality="pgs")}
    config.encoders = {
        "image": encoder("cnn", channels=(4, 8)),
        "pgs": encoder("vector_mlp", hidden=8, features=8),
    }
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "pgs")}
    config.objective = (term("clip", between=("image", "pgs"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine", warmup_epochs=0)
    return pretrain(config, root / "run", log=lambda line: None).run


@pytest.fixture
def store(run: Run) -> Store:
    """What it was trained on."""
    return run.store()


def test_any_inputs_are_joined_and_rows_that_lack_one_are_said(run: Run, store: Store) -> None:
    said: list[str] = []
    scores = evaluate_runs(
        [run],
        store,
        EvaluationOptions(
            inputs=("image+pgs", "pgs"),
            label=("grade", "diseases"),
            protocols=("probe", "knn"),
            baselines=("pixels", "features"),
            **FAST,
        ),
        log=said.append,
    )
    expected = {"image+pgs": {"scores", "pixels and features"}, "pgs": {"scores", "features"}}
    for given, methods in expected.items():
        for protocol in ("probe", "knn"):
            mine = [score for score in scores if (score.input, score.protocol) == (given, protocol)]
            assert {score.method for score in mine} == methods
            assert {score.task for score in mine} == {"ordinal", "multi_label"}
    assert all(np.isfinite(score.metrics["auroc_macro"]) for score in scores if score.task == "multi_label")
    lacking = sum(int((~store.read(split, ["pgs"])["pgs"].present).sum()) for split in store.sizes)
    (line,) = [line for line in said if line.startswith("--input pgs: rows with the label 'grade'")]
    assert sum(int(part.split()[0]) for part in line.split("(")[1].split(", ")) == lacking == 10


def test_two_encoders_are_trained_together(run: Run, store: Store) -> None:
    how = {"protocols": ("finetune",), "baselines": ()}
    (score,) = evaluate_runs(
        [run], store, EvaluationOptions(inputs=("image+pgs",), label="grade", **how, **FAST), log=quiet
    )
    assert np.isfinite(score.metrics["mae"])
    assert score.chosen["epoch"] >= 1


def test_a_mask_is_predicted_from_feature_maps(run: Run, store: Store) -> None:
    how = {"label": "disc", "baselines": ("random",)}
    scores = evaluate_runs(
        [run], store, EvaluationOptions(**how, **{**FAST, "max_epochs": 30, "learning_rates": [3e-2]}), log=quiet
    )
    assert {score.method for score in scores} == {"scores", "random encoder"}
    for score in scores:
        assert score.task == "segmentation"
        assert score.metrics["dice"] > 0.5
        assert score.metrics["iou"] < score.metrics["dice"]
        assert "val_dice" in score.metrics
    with pytest.raises(UserError, match="--protocol augmented_probe: the label 'disc' is a mask"):
        evaluate_runs([run], store, EvaluationOptions(protocols=("augmented_probe",), **how), log=quiet)
    with pytest.raises(UserError, match=r"--input image\+pgs: the mask 'disc' is predicted from one image"):
        evaluate_runs([run], store, EvaluationOptions(inputs=("image+pgs",), **how), log=quiet)
    with pytest.raises(UserError, match="--task class: the label 'disc' is a mask"):
        evaluate_runs([run], store, EvaluationOptions(task="class", **how), log=quiet)


def test_retrieval_is_between_what_the_run_compares(run: Run, store: Store) -> None:
    """Rows that lack one of the two take no part, in evaluation and in the monitor."""
    said: list[str] = []
    how = {"protocols": ("retrieval",), "baselines": ()}
    (score,) = evaluate_runs([run], store, EvaluationOptions(**how), log=said.append)
    assert (score.input, score.label) == ("image-pgs", "")
    present = store.read("test", ["pgs"])["pgs"].present
    assert 0 < present.sum() < len(present)
    assert said == [
        f"--protocol retrieval: of {len(present)} test rows, {(~present).sum()} without image or pgs take no part."
    ]
    source = Source("run", run)
    sides = [source.projections(store, "test", name)[present] for name in ("image", "pgs")]
    assert score.metrics == retrieval(*sides, names=("image", "pgs"))
    assert score.metrics["chance_recall@1"] == 1 / present.sum()
    (table,) = grids([score])
    assert table.title == "Retrieval of the test split's images and pgs"
    assert [row[1] for row in table.rows] == ["image to pgs", "pgs to image", ""]
    assert evaluate_runs([run], store, EvaluationOptions(inputs=("pgs+image",), **how), log=quiet) == [score]
    with pytest.raises(UserError, match=r"--input both: .* does not compare these two.* compares image\+pgs\."):
        evaluate_runs([run], store, EvaluationOptions(inputs=("image+table",), **how), log=quiet)
    found = monitor(store, run.config, run.inputs)(run.model())
    assert found.keys() == {"online/knn_top1/image", "online/knn_top1/pgs", "online/retrieval_top1/image-pgs"}
    there = store.read("val", ["pgs"])["pgs"].present
    hits = 2 * there.sum() * found["online/retrieval_top1/image-pgs"]
    assert hits == pytest.approx(round(hits))


def test_runs_of_folds_are_evaluated_on_their_own(run: Run, store: Store) -> None:
    how = {"label": "pressure", "baselines": ("pixels",)}
    runs = [
        dataclasses.replace(run, inputs=Inputs.fit(run.config.inputs, store, fold=fold)) for fold in range(3)
    ]  # the encoder is the same, and what leads from rows to it is fitted on the fold
    scores = evaluate_runs(runs, store, EvaluationOptions(**how, **FAST), log=quiet)
    assert {(score.method, score.fold) for score in scores} == {
        (method, fold) for method in ("scores", "pixels") for fold in range(3)
    }
    cell = summarise(scores, "mae")["scores"]["all"]
    found = [score.metrics["mae"] for score in scores if score.method == "scores"]
    assert (cell.mean, cell.repeats) == (pytest.approx(np.mean(found)), 3)
    tables = grids(scores)
    assert "mean ± sd over 3 folds" in tables[0].title
    assert "Folds share training rows" in tables[0].note
    assert "no interval" in tables[0].note
    by_fold = tables[-1]
    assert by_fold.title.endswith("test mean absolute error, by fold")
    assert by_fold.head == ["features", "labels", "fold 0", "fold 1", "fold 2"]
    mae = {(score.method, score.fold): score.metrics["mae"] for score in scores}
    assert by_fold.rows == [
        [method, "all", *(str(ScoreCell(mae[method, fold], float("nan"), 1)) for fold in range(3))]
        for method in ("pixels", "scores")
    ]
    seen = set()
    for fold in range(3):
        data = LabelledStore.of(store, "pressure", fold=fold)
        everyone = {split: set(store.rows_of(split, fold)[data.rows[split]].tolist()) for split in store.sizes}
        assert not everyone["test"] & (everyone["train"] | everyone["val"])
        assert not everyone["test"] & seen
        seen |= everyone["test"]
    assert len(seen) == 40
    with pytest.raises(UserError, match=r"--subset: .* own splits, and the run was trained on a fold"):
        LabelledStore.of(store, "pressure", fold=0).draws(Budget(subset="train_10"), seed=0, count=1)
    said: list[str] = []
    how["baselines"] = ()
    evaluate_runs(runs[1:2], store, EvaluationOptions(**how, **FAST), log=said.append)
    assert said == ["scores, seed 2022, has no run of the folds 0, 2: its scores are over 1 of 3 folds."]
    with pytest.raises(
        UserError, match=r"--run: .*/run was trained on the splits of its store, and other runs on folds"
    ):
        evaluate_runs([run, *runs], store, EvaluationOptions(**how, **FAST), log=quiet)
    with pytest.raises(UserError, match="two runs have the experiment 'scores' and the seed 2022 on the fold 0"):
        evaluate_runs([runs[0], runs[0]], store, EvaluationOptions(**how, **FAST), log=quiet)
