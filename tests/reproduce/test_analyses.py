"""ContIG's analyses as tables: planted variants in studies of embeddings, and planted features in attributions."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.explain.planted import Truth
from mmcl_jax.genotypes import Variants
from mmcl_jax.genotypes.variants import texts
from mmcl_jax.gwas.find import Found
from mmcl_jax.gwas.statistics.clump import Region
from mmcl_jax.gwas.statistics.p_values import neg_log10_p
from mmcl_jax.gwas.statistics.scan import Associations
from mmcl_jax.reproduce import run as work
from mmcl_jax.reproduce.analyses.association import counts
from mmcl_jax.reproduce.outcome import ColumnTest, TableOutcome
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.plan import Training, write_record
from mmcl_jax.reproduce.reading import HOLDS, OPPOSITE, UNDECIDED, judge
from mmcl_jax.reproduce.tables import TABLES, contig
from mmcl_jax.reproduce.text import render_text
from mmcl_jax.synthetic.eyes.generator import generate_fundus
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.runs.run import Run

TABLE2, FIGURE3, FIGURE4 = (TABLES[f"contig/{name}"] for name in ("table2", "figure3", "figure4"))
SMALL = {"people": 60, "variants": 360, "chromosomes": 1, "scores": 8, "genes": 40, "image_size": 48, "seed": 2}
SIZES = ["--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)"]


def test_the_rows_are_the_runs_of_table_1() -> None:
    for table in (TABLE2, FIGURE3, FIGURE4):
        for row in filter(lambda row: row.config, table.rows):
            same = TABLES["contig/table1"].row(row.key)
            assert (row.name, row.config, row.overrides) == (same.name, same.config, same.overrides)
    assert [claim.ours for claim in TABLE2.claims] == [False, False, False, True, True]
    first = {one.label: one.published["CONTIG"] for one in TABLE2.claims[0].contrasts}
    assert first["mean of ContIG − Barlow Twins"] == pytest.approx(np.mean([16, 20, 19, 22, 18]) - 8)


def found(regions: list[Region], t: np.ndarray) -> Found:
    """Of one study with these regions and t statistics `[K, V]`."""
    kinds, size = t.shape
    names = texts(f"rs{number}" for number in range(size))
    variants = Variants(texts(["1"] * size), np.arange(size), names, texts(["A"] * size), texts(["G"] * size))
    value, nothing = neg_log10_p(t, np.array([1e6])), np.zeros((1, size))
    associations = Associations(
        variants, ("PC1", "PC2"), t, t, value, value[0], np.zeros(kinds, int), nothing, nothing, nothing
    )
    return Found(associations, value.max(axis=0), value.argmax(axis=0), regions, {})


def test_planted_variants_are_counted_once_and_regions_without_them_are_false() -> None:
    t = np.random.default_rng(0).normal(size=(2, 4000))
    t[:, :40] = 30  # the planted variants and their partners
    partners = {"rs3": frozenset({"rs3", "rs4"}), "rs20": frozenset({"rs20", "rs21"}), "rs9": frozenset({"rs9"})}
    truth = Truth({"snp": frozenset(partners)}, {}, partners)
    regions = [Region(4, (7,), 0, 1), Region(3, (), 0, 1), Region(100, (101,), 0, 1), Region(200, (20,), 0, 1)]
    numbers = counts(found(regions, t), truth)
    assert (numbers["regions"], numbers["planted_variants"], numbers["false_regions"]) == (4, 2, 1)
    assert numbers["inflation"] == pytest.approx(1, abs=0.08)
    named = frozenset(f"rs{number}" for number in range(40))
    without = counts(found(regions, t), Truth({}, {}, {"rs0": named}))["inflation"]
    assert without < numbers["inflation"]
    alone = counts(found(regions, t), None)
    assert set(alone) == {"regions", "inflation", "inflation_largest", "inflation_permuted"}
    assert alone["inflation"] > without


def outcome_of(made_up: Any, table: Any, metrics: dict[str, dict[str, list[float]]]) -> TableOutcome:
    """An outcome of three seeds with these metrics by row."""
    outcome = made_up(table, {row: {column.key: [0.0] * 3 for column in table.columns} for row in metrics}, "fundus")
    scores = {
        (row, column): [
            dataclasses.replace(score, metrics={name: values[score.seed] for name, values in metrics[row].items()})
            for score in part
        ]
        for (row, column), part in outcome.scores.items()
    }
    tested = {column.key: ColumnTest(column.metric, 1, None) for column in table.columns}
    return dataclasses.replace(outcome, scores=scores, metric=table.columns[0].metric, tested=tested)


def study(planted: float, *, false: float = 0.0, inflation: float = 1.0) -> dict[str, list[float]]:
    return {
        "planted_variants": [planted, planted + 1, planted + 1],
        "false_regions": [false] * 3,
        "regions": [planted + false + 1] * 3,
        "inflation": [inflation] * 3,
    }


def test_counts_of_inflated_methods_stand_in_brackets(made_up: Any) -> None:
    metrics = {row.key: study(9) for row in contig.GENETIC} | {row.key: study(2) for row in contig.IMAGES}
    metrics |= {"contig_byol": study(8, false=30, inflation=1.6), "random": study(9)}
    outcome = outcome_of(made_up, TABLE2, metrics)
    text, page = render_text(outcome), render_page(outcome, "")
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
             for line in text.partition("## ")[0].splitlines() if line.startswith("| ")}  # fmt: skip
    assert lines["BYOL"] == ["(8.7 ± 0.6)", "(30 ± 0.0)", "(39 ± 0.0)", "(17)", "1.60 ± 0.00"]
    assert lines["ContIG, scores"][:4] == ["9.7 ± 0.6", "0 ± 0.0", "10 ± 0.0", "20"]
    assert "(8.7 ± 0.6)" in page
    assert [judged.verdict for judged in judge(outcome)] == [HOLDS, UNDECIDED, UNDECIDED, HOLDS, UNDECIDED]
    assert "published, real eyes: +15.00" in text
    assert "An interval is for other seeds of the same people. Differences are in the units of the columns" in text
    # More false regions, and more inflation, are no advantage.
    assert not any(line.startswith(("- False regions", "- Inflation")) for line in text.splitlines())
    swapped = outcome_of(made_up, TABLE2, {**metrics, **{row.key: study(11) for row in contig.IMAGES}})
    assert judge(swapped)[0].verdict == OPPOSITE


def begun(training: Training, log: Any) -> bool:
    """Begin a run as its training would, with the initial weights."""
    store = Store.open(training.config.data)
    Run.begin(training.directory, training.config, store, fit_inputs(training.config, store))
    write_record(training.record, {"steps": 0, "seconds": 0.0, "device": jax.devices()[0].device_kind})
    return True


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn cohort `raw` with its store, and a later one, `later`, with its own."""
    pytest.importorskip("cv2")
    root = tmp_path_factory.mktemp("eyes")
    generate_fundus(root / "raw", **SMALL, missing=0.2, aptos=0, rfmid=0, palm=0)
    generate_fundus(root / "later", **SMALL, missing=0.0, cohort=1, first_people=60)
    for name, more in (("raw", ["--image-size", "16"]), ("later", ["--like", str(root / "raw-store")])):
        words = ["prepare", "--dataset", "fundus", "--root", str(root / name), "--dataset.every=1"]
        assert main([*words, "--out", str(root / f"{name}-store"), *more]) == 0
    return root


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The initial weights, as if they had been trained; training compiles a program, which takes long."""
    monkeypatch.setattr(work, "train", begun)
    monkeypatch.setattr(Run, "model", lambda run: run.untrained_model())
    monkeypatch.setattr(Run, "step", lambda run: 0)


def command(eyes: Path, table: str, *more: str) -> list[str]:
    return [
        "reproduce", f"contig/{table}", "--data", str(eyes / "raw-store"), "--out", str(eyes / "out"),
        "--variant", "fundus", "--seeds", "1", *SIZES, *more,
    ]  # fmt: skip


@pytest.mark.usefixtures("untrained")
def test_table2_is_written_from_a_cohort_that_no_run_has_seen(eyes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--downstream", f"cohort={eyes / 'later-store'}", "--methods", "pgs,random"]
    words = command(eyes, "table2", *more, "--raw", str(eyes / "later"))
    assert main(words) == 0, capsys.readouterr().err
    results = json.loads((eyes / "out" / "contig" / "table2" / "results.json").read_text())
    assert {score["row"] for score in results["scores"]} == {"pgs", "random"}
    people = {score["metrics"]["people"] for score in results["scores"]}
    assert len(people) == 1
    assert 40 < people.pop() <= 60
    trained, random = (
        next(score["metrics"] for score in results["scores"] if score["row"] == row) for row in ("pgs", "random")
    )
    assert {name: trained[name] for name in ("inflation", "variance")} == pytest.approx(
        {name: random[name] for name in ("inflation", "variance")}
    )  # both have the initial weights
    assert results["beside"]["Other metrics"][0][1].endswith("largest inflation of a component")
    capsys.readouterr()
    assert main(words) == 0
    assert "8 evaluations: 8 done, 0 missing" in capsys.readouterr().out
    # Without a truth, regions are counted alone.
    (eyes / "later" / "truth").rename(eyes / "hidden")
    try:
        assert main(words) == 0
        printed = capsys.readouterr().out
    finally:
        (eyes / "hidden").rename(eyes / "later" / "truth")
    assert "Planted variants is left out" in printed
    assert "4 evaluations: 0 done, 4 missing" in printed


@pytest.mark.usefixtures("untrained")
def test_figures_show_the_same_attributions(eyes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--methods", "pgs,random_weights", "--raw", str(eyes / "raw")]
    assert main(command(eyes, "figure3", *more)) == 0, capsys.readouterr().err
    folder = eyes / "out" / "contig"
    results = json.loads((folder / "figure3" / "results.json").read_text())
    cells = {(cell["row"], cell["column"]): cell["mean"] for cell in results["cells"]}
    assert cells["random_weights", "snp"] == pytest.approx(cells["outer", "snp"])  # both have the initial weights
    several = {(row, column) for row in ("outer", "random_weights") for column in ("snp", "pgs", "burden")}
    assert set(cells) == {("pgs", "pgs"), *several}
    features = results["beside"]["Features with the most attribution"]
    assert len(features) == 9  # the head, and eight scores
    planted = {line.split(",")[1] for line in (eyes / "raw" / "truth" / "causes.csv").read_text().splitlines()}
    assert {feature for _, feature, yes, _ in features[1:] if yes} == {name for name in planted if name[:3] == "PGS"}
    capsys.readouterr()
    assert main(command(eyes, "figure4", *more)) == 0
    assert "7 evaluations: 7 done, 0 missing" in capsys.readouterr().out
    page = (folder / "figure4" / "table.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    person = json.loads((folder / "figure4" / "results.json").read_text())["beside"]["Attributions of a person"]
    assert {line[0] for line in person[1:]} == {person[1][0]}


@pytest.mark.parametrize(
    ("table", "more", "sentence"),
    [
        (
            "table2",
            [],
            "--downstream: all columns of contig/table2 are of a store of its own; name it with",
        ),
        ("table2", ["--downstream", "cohort=later-store"], "--raw: contig/table2 reads files beside the store of"),
        ("table2", ["--downstream", "cohort=later-store", "--raw", "no"], "no is no folder; name the one that mmcl"),
        ("table2", ["--downstream", "cohort=later-store", "--raw", "empty"], "genotypes has no .bed, .pgen or .bgen"),
        ("figure3", ["--raw", "empty"], "empty has no folder 'truth', and contig/figure3 judges attributions by"),
        ("figure3", ["--raw", "raw", "--label", "age"], "--label: contig/figure3 predicts no label; leave it out."),
        ("linear", ["--raw", "raw"], "--raw: contig/linear reads stores alone; leave it out."),
    ],
)
def test_bad_input_is_one_sentence(
    eyes: Path, capsys: pytest.CaptureFixture[str], table: str, more: list[str], sentence: str
) -> None:
    (eyes / "empty").mkdir(exist_ok=True)
    folders = ("later-store", "raw", "empty", "no")
    words = [
        f"cohort={eyes / word[7:]}" if word[7:] in folders else str(eyes / word) if word in folders else word
        for word in more
    ]
    capsys.readouterr()
    assert main([*command(eyes, table, *words)[:5], str(eyes / "none"), *command(eyes, table, *words)[6:]]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (eyes / "none").exists()
