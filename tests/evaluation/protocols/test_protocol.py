"""Runs, inputs, protocols and budgets, put together."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols import boosting
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import grids
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

LAUNCHER = Path(__file__).parents[3] / "launch" / "local.py"
FAST = {"learning_rates": [1e-2], "max_epochs": 2, "draws": 2}


def quiet(line: str) -> None:
    """Drops what training says."""


@pytest.fixture(scope="module")
def runs(digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Run]:
    """Two experiments at two seeds, hardly trained."""
    made = {}
    for name in ("digits_mmcl", "digits_simclr"):
        table = ["encoders.table.hidden=16", "encoders.table.features=8"] if name == "digits_mmcl" else []
        tiny = ["encoders.image.channels=(4, 8)", "batch_norm.group_size=8", "batch_size=64", *table]
        for seed in (0, 1):
            length = ["epochs=1", "schedule.warmup_epochs=0", f"seed={seed}", f"data={digits_store.directory}"]
            where = tmp_path_factory.mktemp(f"{name}{seed}") / "run"
            made[name, seed] = pretrain(load(name, [*length, *tiny]), where, log=quiet).run
    return made


@pytest.fixture
def ads(raw: Request, tmp_path: Path) -> Store:
    """Forty advertisements with a class and, in all but three of them, a price to predict."""
    table = pl.read_csv(raw.table)
    prices = [None if row in (3, 11, 30) else price for row, price in enumerate(table["price"])]
    table.with_columns(pl.Series("price", prices)).write_csv(raw.table)
    return prepare(dataclasses.replace(raw, label=("model", "price")), tmp_path / "store")


def test_two_processes_share_the_scores_and_one_writes_the_same_file(
    runs: dict[tuple[str, int], Run], tmp_path: Path
) -> None:
    """Bit by bit and in the same order, the second time from a file that one process has begun."""
    launch = [sys.executable, str(LAUNCHER), "--devices", "1", "--processes"]
    mmcl = ["--", sys.executable, "-P", "-m", "mmcl_jax.cli.main", "evaluate", "--max-epochs", "1", "--seeds", "2"]
    mmcl += ["--learning-rates", "1e-2", "--run", str(runs["digits_mmcl", 0].directory), "--out"]

    def evaluate(processes: int, out: str, *options: str) -> list[dict[str, Any]]:
        command = [*launch, str(processes), *mmcl, str(tmp_path / out), *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.count("Written to") == 1
        return json.loads((tmp_path / out).read_text())["scores"]

    every = ["--protocol", "probe,knn,retrieval", "--input", "image,table"]
    one = evaluate(1, "one.json", *every)
    evaluate(2, "two.json", *every[:1], "knn", *every[2:])
    assert evaluate(2, "both.json", *every) == one
    two = evaluate(2, "two.json", *every)
    assert {json.dumps(score) for score in two} == {json.dumps(score) for score in one}


def ads_run(store: Store, where: Path, *options: str) -> Run:
    tiny = [
        "views.table.rate=0.3", "encoders.image.channels=(4,)", "encoders.table.hidden=8", "encoders.table.features=8",
        "batch_size=16", "batch_norm.group_size=8", "epochs=1", "schedule.warmup_epochs=0", f"data={store.directory}",
    ]  # fmt: skip
    return pretrain(load("digits_mmcl", [*tiny, *options]), where, log=quiet).run


def kinds(scores: list[Score]) -> Counter:
    return Counter((score.method, score.protocol, score.input, score.budget) for score in scores)


def test_methods_are_paired_by_seed(runs, digits_store: Store) -> None:
    scores = evaluate_runs(
        list(runs.values()), digits_store, EvaluationOptions(budgets=[Budget(per_class=2), Budget()], **FAST)
    )
    methods = ("pixels", "random encoder", "digits_mmcl", "digits_simclr")
    counted = Counter((s.method, s.seed, s.budget) for s in scores)
    assert counted == {
        (method, seed, budget): draws
        for method in methods
        for seed in (0, 1)
        for budget, draws in (("2 per class", 2), ("all", 1))
    }
    assert scores[0].method == "pixels"  # they are computed last and listed first
    pixels = {s.seed: s.metrics["top1"] for s in scores if s.method == "pixels" and s.budget == "all"}
    assert pixels[0] == pytest.approx(pixels[1], abs=0.02)
    assert min(pixels.values()) > 0.9
    assert all(s.label == "digit" and s.chosen == {"learning_rate": 0.01} and "val_top1" in s.metrics for s in scores)


def test_embeddings_are_boosted_alone_and_beside_the_columns(
    runs, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "TREES", 2)
    monkeypatch.setattr(boosting, "RATES", (0.3,))
    options = EvaluationOptions(protocols=("features",), budgets=[Budget(per_class=2)], **FAST)
    with threadpool_limits(1):
        scores, again = (evaluate_runs([runs["digits_mmcl", 0]], digits_store, options) for _ in range(2))
    assert scores == again
    assert kinds(scores) == {
        (method, "features", "image", "2 per class"): 2
        for method in (
            *("columns", "random encoder", "random encoder + columns", "digits_mmcl", "digits_mmcl + columns"),
        )
    }
    assert all(score.chosen["learning_rate"] == 0.3 and "log_loss" in score.metrics for score in scores)
    (top1, _) = grids(scores)
    assert [row[0] for row in top1.rows] == list(dict.fromkeys(score.method for score in scores))
    values = {
        method: [s.metrics["log_loss"] for s in scores if s.method == method]
        for method in Counter(s.method for s in scores)
    }
    assert len({tuple(each) for each in values.values()}) == len(values)  # no method is another one's features


def test_every_protocol_and_input_with_its_baselines(runs, digits_store: Store) -> None:
    scores = evaluate_runs(
        [runs["digits_mmcl", 0]],
        digits_store,
        EvaluationOptions(
            protocols=("probe", "knn", "retrieval"),
            inputs=("image", "table", "both"),
            budgets=[Budget(per_class=1)],
            **FAST,
        ),
    )
    raw = {"image": "pixels", "table": "columns", "both": "pixels and columns"}
    expected = Counter(
        {
            (method, protocol, given, "1 per class"): 2
            for protocol in ("probe", "knn")
            for given in raw
            for method in (raw[given], "random encoder", "digits_mmcl")
        }
    )
    expected.update((method, "retrieval", "image-table", "no labels") for method in ("random encoder", "digits_mmcl"))
    assert kinds(scores) == expected
    both = {s.metrics["top1"] for s in scores if s.protocol == "probe" and s.method == "digits_mmcl"}
    assert len(both) > 2  # inputs are not the same
    ks = {s.chosen["neighbours"] for s in scores if s.protocol == "knn"}
    assert ks <= {1.0, 5.0}  # ten labelled rows


def test_baselines_alone(runs, digits_store: Store) -> None:
    """Runs lend their encoder and inputs, and give the same as beside the runs."""
    options = {"budgets": [Budget(per_class=1)], "baselines": ("random", "pixels"), **FAST}
    alone = evaluate_runs([runs["digits_mmcl", 0]], digits_store, EvaluationOptions(only_baselines=True, **options))
    beside = evaluate_runs([runs["digits_mmcl", 0]], digits_store, EvaluationOptions(**options))
    assert {score.method for score in alone} == {"random encoder", "pixels"}
    assert alone == [score for score in beside if score.method != "digits_mmcl"]


def test_fine_tuning_draws_and_starts(runs, digits_store: Store) -> None:
    """Each draw of few labels is learnt once; what is drawn once, from several starts."""
    scores = evaluate_runs(
        [runs["digits_mmcl", 0]],
        digits_store,
        EvaluationOptions(
            protocols=("augmented_probe", "finetune"),
            inputs=("both",),
            budgets=[Budget(per_class=2), Budget(subset="train_10")],
            learning_rates=[1e-2],
            max_epochs=1,
            draws=2,
        ),
    )
    assert kinds(scores) == {
        (method, protocol, "both", budget): 2
        for budget in ("2 per class", "train_10")
        for method, protocol in (
            ("random encoder", "augmented_probe"),
            ("supervised image+table", "finetune"),
            ("digits_mmcl", "augmented_probe"),
            ("digits_mmcl", "finetune"),
        )
    }
    tuned = [s.metrics["auroc"] for s in scores if (s.method, s.protocol) == ("digits_mmcl", "finetune")]
    assert len(set(tuned)) == 4


def test_numbers_are_predicted_from_the_rows_that_have_them(ads: Store, tmp_path: Path) -> None:
    data = LabelledStore.of(ads, "price")
    assert sum(map(len, data.rows.values())) == 37
    for split in ads.sizes:
        place = [column.name for column in ads.schema.labels].index("price")
        prices = np.asarray(ads.rows(split)["labels"][:, place])
        np.testing.assert_array_equal(data.targets[split], prices[~np.isnan(prices)])
    run = ads_run(ads, tmp_path / "run")
    protocols = ("probe", "knn", "finetune", "augmented_probe")
    how = {"label": "price", "protocols": protocols, "inputs": ("table",), "baselines": ()}
    scores = evaluate_runs([run], ads, EvaluationOptions(budgets=[Budget(), Budget(fraction=0.5)], **how, **FAST))
    assert {s.protocol for s in scores} == set(protocols)
    tail = {"abs_error_p90", "abs_error_p95", "abs_error_max"}
    assert all({"mse", "mae", "r2", "pearson", "val_mse"} | tail == set(s.metrics) for s in scores)
    spread = np.std(data.targets["test"])
    assert all(s.metrics["mae"] < 20 * spread for s in scores)  # in the label's units
    with pytest.raises(UserError, match="--per-class: 'price' is a number"):
        evaluate_runs([run], ads, EvaluationOptions(budgets=[Budget(per_class=2)], **how))


def test_a_label_that_is_in_the_table_is_not_predicted_from_it(ads: Store, tmp_path: Path) -> None:
    run = ads_run(ads, tmp_path / "run", "inputs.table.label_as_feature=True")
    with pytest.raises(UserError, match=r"--input table: .* was trained with the label 'model' as a table column"):
        evaluate_runs([run], ads, EvaluationOptions(inputs=("table",)))
    assert evaluate_runs([run], ads, EvaluationOptions(inputs=("image",), baselines=(), **FAST))
    assert evaluate_runs([run], ads, EvaluationOptions(inputs=("table",), label="price", baselines=(), **FAST))


def test_a_copy_of_the_label_in_the_table_is_seen(raw: Request, tmp_path: Path) -> None:
    """As in a store of an older version, or with a column that was declared to be used all the same."""
    table = pl.read_csv(raw.table)
    table.with_columns(code="x" + pl.col("model").str.slice(1)).write_csv(raw.table)
    declared = Declaration.from_json({"columns": {"code": {"kind": "categorical"}}}, "schema")
    store = prepare(dataclasses.replace(raw, schema=declared), tmp_path / "copied")
    assert "code" in [column.name for column in store.schema.columns]
    run = ads_run(store, tmp_path / "run")
    with pytest.raises(UserError, match=r"--input table: .* the label 'model' as a table column \('code'\).*--ignore"):
        evaluate_runs([run], store, EvaluationOptions(inputs=("table",)))
    assert evaluate_runs([run], store, EvaluationOptions(inputs=("image",), baselines=(), **FAST))


def test_retrieval_needs_no_label(raw: Request, tmp_path: Path) -> None:
    store = prepare(dataclasses.replace(raw, label=()), tmp_path / "store")
    run = ads_run(store, tmp_path / "run")
    (score,) = evaluate_runs([run], store, EvaluationOptions(protocols=("retrieval",), baselines=("pixels",)))
    assert score.metrics["chance_recall@1"] == 1 / store.sizes["test"]
    with pytest.raises(UserError, match="has no label; prepare it with --label"):
        evaluate_runs([run], store)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"protocols": ("oracle",)}, "--protocol: there is no protocol 'oracle'; choose from probe, augmented_probe"),
        ({"protocols": ()}, "--protocol: name at least one"),
        ({"protocols": ("knn", "knn")}, "--protocol: 'knn' is named twice"),
        ({"inputs": ("sound",)}, "--input: there is no input 'sound'"),
        ({"inputs": ("both",)}, "--input both: .* has no encoder of 'table'; it has those of image"),
        ({"protocols": ("retrieval",)}, "--protocol retrieval: .* compares no two inputs"),
        ({"baselines": ("forest",)}, "--baselines: there is no baseline 'forest'"),
        ({"label": "sign"}, "--label: .* has no label 'sign'; it has digit"),
        ({"budgets": [Budget(subset="most")]}, "has no subset 'most'"),
        ({"learning_rates": [0.0]}, "--learning-rates: give at least one, all above 0"),
        ({"max_epochs": 0}, "--max-epochs: must be positive"),
    ],
)
def test_bad_requests_are_named_before_anything_is_computed(
    changes, sentence: str, runs, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "model", lambda self: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match=sentence):
        evaluate_runs([runs["digits_simclr", 0]], digits_store, EvaluationOptions(**{"baselines": (), **changes}))


def test_runs_that_do_not_fit(runs, digits_store: Store, ads: Store) -> None:
    run = runs["digits_mmcl", 0]
    with pytest.raises(UserError, match="two runs have the experiment 'digits_mmcl' and the seed 0"):
        evaluate_runs([run, run], digits_store)
    with pytest.raises(UserError, match="was trained on images of shape"):
        evaluate_runs([run], ads)
    with pytest.raises(UserError, match=r"was trained with the column .*, which .* lacks"):
        evaluate_runs([run], ads, EvaluationOptions(inputs=("table",)))


def test_rivals_read_the_columns_once_whatever_the_inputs(
    runs: dict[tuple[str, int], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    first = next(iter(runs.values()))
    assert Source("raw", first).columns == {"table": {column.name for column in first.schema.columns}}
    run = str(first.directory)
    command = ["evaluate", "--run", run, "--baselines", "", "--trials", "2", "--seeds", "2", "--out", str(out)]
    command += ["--protocol", "forest", "--input", "image,table", "--per-class", "5,10"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Random forest on tables, test top-1 accuracy" in printed
    assert "Cost of the rivals" in printed
    scores = json.loads(out.read_text())["scores"]
    assert {(one["protocol"], one["method"], one["input"]) for one in scores} == {("forest", "columns", "table")}
    draws = [(one["budget"], one["draw"]) for one in scores]
    assert draws == [("5 per class", 0), ("5 per class", 1), ("10 per class", 0), ("10 per class", 1)]
    assert all(one["of"]["trials"] == 2 and one["cost"]["seconds"] > 0 and one["rows"] for one in scores)
    assert main(command) == 0
    assert "found 4 scores of this command in it" in capsys.readouterr().out
    assert main(["evaluate", "--run", run, "--protocol", "probe", "--trials", "2", "--out", str(out)]) == 2
    assert "--trials: probe has none; leave it out, or add --protocol boosting." in capsys.readouterr().err
