"""ContIG's tables: columns with labels and stores of their own, errors beside shares, and intervals by person."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.api.commands.reproduce import reproduce
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.per_row import of_people, packed
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.reproduce.configure import configure
from mmcl_jax.reproduce.grid import GridCell, Sample, contrast
from mmcl_jax.reproduce.measure import Measure
from mmcl_jax.reproduce.outcome import ColumnTest
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.plan import EvaluationSettings, PlanRequest, digest, make_plan, plain_options
from mmcl_jax.reproduce.reading import HOLDS, UNDECIDED, judge
from mmcl_jax.reproduce.results import conclusions
from mmcl_jax.reproduce.spec import Contrast
from mmcl_jax.reproduce.tables import TABLES
from mmcl_jax.reproduce.tables.contig import GENETIC, IMAGES
from mmcl_jax.reproduce.text import render_text
from mmcl_jax.synthetic.eyes.generator import generate_fundus
from mmcl_jax.tasks import Numbers, Ordinal

TRAITS = TABLES["contig/traits"]
DIFFERENCE = Contrast("a − b", (("a", "x", 1.0), ("b", "x", -1.0)))
PEOPLE = 400


def test_a_claim_is_the_papers_only_if_its_numbers_have_it() -> None:
    claims = TABLES["contig/table1"].claims
    for claim in claims:
        numbers = [one.published["CONTIG"] for one in claim.contrasts]
        assert claim.ours == (min(numbers) <= 0)
    assert [claim.text for claim in claims if claim.ours] == [
        "PALM: every pretraining with genetics is better than from scratch",
        "PALM: people who lack a vector are of use (outer is better than inner)",
    ]
    scratch = next(claim for claim in claims if claim.text.startswith("Age") and "from scratch" in claim.text)
    by_label = {one.label: one.published["CONTIG"] for one in scratch.contrasts}
    assert by_label["ContIG, scores − From scratch"] == pytest.approx(100 * (3.440 - 3.176) / 3.440)


def test_every_method_is_evaluated_by_the_same_settings() -> None:
    for name in ("table1", "traits", "linear", "encoders"):
        table = TABLES[f"contig/{name}"]
        assert table.own_labels
        assert {row.protocols for row in table.rows if row.config} == {("probe", "finetune")}
        for column in table.columns:
            assert digest(plain_options(column.options))
            assert column.protocol == "probe" or (column.learning_rates, column.max_epochs) != (None, None)
    assert TABLES["contig/table1"].downstream == ("aptos", "rfmid", "palm")
    assert not TABLES["mmcl/table1"].own_labels


def eyes(made_up, gain: float, *, spread: float = 0.01):
    """Scores of three seeds in which genetics have `gain` less error and `gain` more area than all others.

    Every person adds to the metrics; the persons are those of all methods, so that methods are paired by person.
    """
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, PEOPLE)
    values = {}
    for row in TRAITS.rows:
        better = gain if row.key in {one.key for one in GENETIC} else 0.0
        values[row.key] = {"numbers": [0.2 + better] * 3, "binary": [0.6 + better] * 3}
    outcome = made_up(TRAITS, values, variant="fundus")
    scores = {}
    for (row, column), part in outcome.scores.items():
        scores[row, column] = []
        for score in part:
            mean = score.metrics["top1"] + rng.normal(0, 0.002)
            rows = mean + spread * (hard - hard.mean() + rng.normal(0, 0.1, PEOPLE))
            rows += mean - rows.mean()
            metrics = {"auroc_macro": mean}
            if column == "numbers":
                metrics = {"r2": mean, "standardised_mse_sum": 4 * (1 - mean)}
            metrics |= {f"{'r2' if column == 'numbers' else 'auroc'}/{one}": mean for one in ("age", "sex", "smoking")}
            label = "age+bmi+sbp+dbp" if column == "numbers" else "sex+smoking"
            new = dataclasses.replace(score, metrics=metrics, rows=packed(rows.astype(np.float32), people=True))
            scores[row, column].append(dataclasses.replace(new, label=label))
    test = Sample(rows=PEOPLE, smallest=PEOPLE)
    tested = {"numbers": ColumnTest("r2", 4, test), "binary": ColumnTest("auroc_macro", 2, test)}
    return dataclasses.replace(outcome, scores=scores, metric="r2", tested=tested)


def test_errors_and_shares_stand_in_one_table_with_the_published_numbers(made_up) -> None:
    outcome = eyes(made_up, 0.1)
    text, page = render_text(outcome), render_page(outcome, "")
    line = next(line for line in text.splitlines() if line.startswith("| ContIG, scores"))
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert (cells[1], cells[3]) == ("3.176", "72.72")
    assert 2.7 < float(cells[0].split()[0]) < 2.9
    assert 69 < float(cells[2].split()[0]) < 71
    assert "Sex, smoking (AUROC, %) (points)" in text
    assert "(% less summed mean squared error)" in text
    assert "in points of percent or, of errors, relative improvements in percent" in text
    assert "Theirs: single runs." in text
    assert "those of real eyes stand beside ours for orientation" in text
    assert "Age, BMI, pressures (summed MSE): R² of age" in text
    assert "Tests by the metric in the heading" in page
    # Above the mean by less error, and by more area: a positive difference is always an improvement.
    assert [judged.verdict for judged in judge(outcome)[:2]] == [HOLDS, HOLDS]
    gain = next(spread for label, spread in judge(outcome)[0].differences if label.startswith("ContIG, scores"))
    assert gain.mean == pytest.approx(12.5, abs=1)  # 2.8 is 12.5 % less than 3.2
    assert [judged.verdict for judged in judge(eyes(made_up, 0.0))[:2]] == [UNDECIDED, UNDECIDED]
    assert {cell["column"] for cell in conclusions(outcome)["cells"]} == {"numbers", "binary"}


def test_noise_that_all_methods_share_is_in_no_paired_difference(made_up) -> None:
    calm, hard = (eyes(made_up, 0.1, spread=spread) for spread in (0.01, 2.0))
    image = next(row for row in TRAITS.rows if row.key == IMAGES[0].key)
    for column in TRAITS.columns:
        alone = [outcome.spread(image, column).test for outcome in (calm, hard)]
        assert alone[1] > 20 * alone[0] > 0
    # Of an area: the people whom all methods find hard are the same; what is left is each method's own noise.
    area = TRAITS.columns[1]
    assert 0 < hard.to_reference(image, area).test < 0.3 * hard.spread(image, area).test


def test_the_summed_error_follows_from_what_people_add_to_r2() -> None:
    rng = np.random.default_rng(1)
    targets = rng.normal(50, 10, (120, 4))
    targets[rng.random(targets.shape) < 0.1] = np.nan
    outputs = np.nan_to_num(targets, nan=50) + rng.normal(0, 8, targets.shape)
    task = Numbers(label="a+b+c+d", names=("a", "b", "c", "d"))
    people = of_people(task.contributions(outputs, targets), np.repeat(np.arange(60), 2))
    measure = Measure.of("standardised_mse_sum", primary=task.primary, labels=4)
    assert people is not None
    assert len(people) == 60
    assert measure.primary
    assert measure.of_rows(people).mean() == pytest.approx(
        task.metrics(outputs, targets)["standardised_mse_sum"], rel=1e-5
    )
    assert (measure.lower, measure.percent, measure.bounded) == (True, False, False)
    assert not Measure.of("mae", primary="r2").primary


def test_an_interval_of_kappa_counts_the_test_rows() -> None:
    """Two methods of the same skill on drawn test sets: their difference is in the interval as often as it says."""
    rng, task, rows = np.random.default_rng(0), Ordinal(label="grade", classes=5), 150
    inside, trials = 0, 200
    measure = Measure("kappa")
    for _ in range(trials):
        targets = rng.integers(0, 5, rows)
        cells = {}
        for name in ("a", "b"):
            values, by_seed = {}, {}
            grades = np.clip(targets + rng.choice([-1, 0, 0, 1], rows), 0, 4)  # the seeds make the same mistakes
            outputs = np.where(grades[:, None] > np.arange(4), 1.0, -1.0)
            for seed in range(3):
                values[seed] = 100 * task.metrics(outputs, targets)["kappa"]
                by_seed[seed] = measure.of_rows(task.contributions(outputs, targets))
            cells[name, "x"] = GridCell(values, by_seed, lower=measure.lower, bounded=measure.bounded)
        one = contrast(cells, DIFFERENCE, Sample(rows, rows))
        assert one is not None
        assert one.test > 0
        inside += one.low <= 0 <= one.high
    assert 0.92 <= inside / trials <= 0.99


def test_evaluations_of_other_tables_keep_their_identity(digits_store: Store, tmp_path: Path) -> None:
    """The names of records hold a digest of it: another key would make finished tables begin again."""
    table = TABLES["mt_cmtm/table"]
    rows = tuple(row for row in table.rows if row.key == "mt_cmtm")
    configs, _ = configure(rows, variant="digits", store=digits_store, epochs=None, overrides=[])
    settings = EvaluationSettings(label="digit", learning_rates=(0.01,), max_epochs=5)
    parts = {"table": table, "rows": rows, "configs": configs, "store": digits_store, "out": tmp_path}
    plan = make_plan(PlanRequest(**parts, seeds=1, settings=settings, balanced=False))
    fixed = {
        "method": "mt_cmtm",
        "seed": 0,
        "input": "table",
        "budget": "all",
        "draws": 1,
        "label": "digit",
        "learning_rates": (0.01,),
        "max_epochs": 5,
        "store": digits_store.fingerprint,
        "config": digest(plan.trainings[0].settings()),
        "task": None,
    }
    assert [one.identity for one in plan.evaluations] == [
        {**fixed, "protocol": "probe"},
        {**fixed, "protocol": "finetune", "options": {"schedule": "one_cycle"}},
    ]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "--variant digits: contig/table1 has no such settings; choose --variant fundus or --variant ukb."),
        (["--variant", "fundus", "--label", "age"], "--label: the columns of contig/table1 have labels of their own"),
        (["--variant", "fundus", "--downstream", "messidor=x"], "--downstream: contig/table1 has no store 'messidor'"),
        (["--variant", "fundus", "--downstream", "aptos"], "--downstream aptos: write NAME=STORE, such as aptos="),
        (["--variant", "fundus", "--downstream", "palm=x,palm=y"], "'palm' is named twice; name it once."),
        (["--variant", "fundus", "--downstream", "palm=nowhere"], "nowhere"),
        (["--variant", "fundus", "--methods", "pgs"], "has no label 'age'"),
    ],
)
def test_bad_input_is_one_sentence(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    assert main(["reproduce", "contig/table1", "--data", str(digits_store.directory), "--out", str(out), *more]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_downstream_store_has_like_images_and_rows_of_its_own(
    raw: Request, digits_store: Store, tmp_path: Path
) -> None:
    how = {"data": digits_store, "out": tmp_path / "out", "variant": "fundus"}
    other = prepare(raw, tmp_path / "other")
    with pytest.raises(
        UserError, match=r"--downstream aptos: .*other has images of the shape .* prepare it again with"
    ):
        reproduce("contig/table1", downstream={"aptos": other}, **how)
    again = prepare(dataclasses.replace(raw, seed=raw.seed + 1), tmp_path / "again")
    with pytest.raises(
        UserError, match=r"--downstream palm: [1-9]\d* of the \d+ test rows of .*again are rows that the"
    ):
        reproduce("contig/table1", downstream={"palm": again}, **{**how, "data": other})
    assert not (tmp_path / "out").exists()


def test_other_tables_take_no_downstream_store(digits_store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--downstream aptos: all columns of mmcl/table1 are of --data; leave it out\."
    ):
        reproduce("mmcl/table1", data=digits_store, out=tmp_path, downstream={"aptos": digits_store})


def test_table1_is_written_from_two_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    raw = tmp_path / "raw"
    small = {"people": 60, "variants": 360, "chromosomes": 1, "scores": 8, "genes": 40, "missing": 0.2}
    generate_fundus(raw, **small, image_size=48, aptos=60, rfmid=0, palm=0, seed=2)
    for name, root, options in (
        ("fundus", raw, ["--dataset.every=1"]),
        ("aptos", raw / "downstream" / "aptos", []),
    ):
        words = ["prepare", "--dataset", name, "--root", str(root), "--out", str(tmp_path / name), "--image-size", "16"]
        assert main([*words, *options]) == 0
    capsys.readouterr()
    command = [
        "reproduce", "contig/table1", "--data", str(tmp_path / "fundus"), "--out", str(tmp_path / "out"),
        "--variant", "fundus", "--downstream", f"aptos={tmp_path / 'aptos'}", "--methods", "scratch",
        "--seeds", "1", "--epochs", "1", "--max-epochs", "1", "--config.batch_size=32",
        "--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)", "--config.encoders.pgs.hidden=8",
    ]  # fmt: skip
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 pretrainings: 0 done, 1 missing\n6 evaluations: 0 done, 6 missing" in printed
    assert "RFMiD (AUROC, %) is left out: name its store with --downstream rfmid=STORE" in printed
    folder = tmp_path / "out" / "contig" / "table1"
    results = json.loads((folder / "results.json").read_text())
    assert list(results["columns"]) == ["aptos", "numbers", "binary"]
    assert results["columns"]["aptos"]["store"]["rows"] == Store.open(tmp_path / "aptos").sizes
    assert results["columns"]["numbers"]["chosen_by"] == "r2"
    assert results["columns"]["aptos"]["learning_rates"] == [0.001]
    assert results["columns"]["aptos"]["max_epochs"] == 1
    assert results["columns"]["aptos"]["options"]["tuning"]["weight_decay"] == 1e-5
    assert {(score["row"], score["column"], score["label"]) for score in results["scores"]} == {
        (row, *of)
        for row in ("scratch", "pgs")
        for of in (("aptos", "diagnosis"), ("numbers", "age+bmi+sbp+dbp"), ("binary", "sex+smoking"))
    }
    # Two eyes of a person are one row of the interval.
    people = len(np.unique(Store.open(tmp_path / "fundus").group("test")))
    assert results["columns"]["numbers"]["test"]["rows"] == people
    text = (folder / "table.txt").read_text()
    assert "80.47" in text
    assert "In place of these, the command set at most 1 epoch for all columns." in text
    # Finished evaluations are found again.
    assert main(command) == 0
    assert "6 evaluations: 6 done, 0 missing" in capsys.readouterr().out
