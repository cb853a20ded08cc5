"""Tables over folds, of numbers, with rivals, and what stands below the numbers."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.rivals import forest, mlp
from mmcl_jax.reproduce.columns_used import column_use, noise_below
from mmcl_jax.reproduce.grid import GridCell, Sample, contrast, spread
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.run import installed
from mmcl_jax.reproduce.spec import COLUMNS_USED, Claim, Contrast, PaperTable, TableColumn, difference
from mmcl_jax.reproduce.tables import TABLES, mmcl, mt_cmtm
from mmcl_jax.reproduce.text import render_text

ROWS = 150
DIFFERENCE = Contrast("a − b", (("a", "x", 1.0), ("b", "x", -1.0)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Rows whose number follows from one column and a category; a column of noise; three folds."""
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=ROWS), rng.choice(list("abc"), ROWS)
    frame = pl.DataFrame(
        {
            "key": [f"row{i}" for i in range(ROWS)],
            "size": [None if i % 11 == 0 else float(one) for i, one in enumerate(size)],
            "kind": kind,
            "lot": rng.normal(size=ROWS),
            "flux": 100 + 10 * size + 5 * (kind == "b") + rng.normal(size=ROWS),
        }
    )
    schema = {"columns": {"lot": {"kind": "continuous", "tags": ["noise"]}}}
    pixels = rng.integers(0, 256, (ROWS, 8, 8, 1), np.uint8)
    return mj.prepare(
        frame, pixels, key_column="key", label="flux", schema=schema, folds=3,
        out=tmp_path_factory.mktemp("flux") / "store",
    )  # fmt: skip


TUNED = dataclasses.replace(mt_cmtm.TUNED, options={})
VIME = dataclasses.replace(mmcl.VIME, overrides=("inputs.table.missing=token",))
SCRATCH = mt_cmtm.SCRATCH
FOREST, MLP = (row for row in mt_cmtm.RIVAL_ROWS if row.key in ("forest", "mlp"))
TABLE = PaperTable(
    name="tests/flux",
    title="A number",
    source="a test",
    rows=(VIME, SCRATCH, FOREST, MLP),
    columns=(mt_cmtm.PROBE, TUNED, dataclasses.replace(TUNED, key="r2", heading="R²", metric="r2")),
    claims=(Claim("Pretraining helps", (difference(VIME, SCRATCH, TUNED, {"HIPMP": 1.48, "DVM": 2.38}),)),),
    reference="vime",
    task=None,
    beside=("metrics", "ranks", "cost"),
)
USED = dataclasses.replace(
    TABLE,
    name="tests/used",
    rows=(VIME, SCRATCH),
    columns=tuple(dataclasses.replace(column, metric=COLUMNS_USED) for column in (mt_cmtm.PROBE, TUNED)),
    claims=(),
    needs_tag="noise",
    beside=("columns",),
)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (TABLE, USED):
        monkeypatch.setitem(TABLES, table.name, table)
    monkeypatch.setattr(forest, "TREES", 10)
    monkeypatch.setattr(mlp, "EPOCHS", 3)


def command(table: PaperTable, store: Store, out: Path, *more: str) -> list[str]:
    return [
        "reproduce", table.name, "--data", str(store.directory), "--out", str(out), "--epochs", "1",
        "--max-epochs", "2", "--learning-rates", "0.01", "--trials", "2", "--seeds", "1", "--config.batch_size=32",
        "--config.encoders.table.hidden=8", "--config.batch_norm.group_size=8", *more,
    ]  # fmt: skip


def test_a_number_over_folds_with_rivals(
    store: Store, tables: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = command(TABLE, store, tmp_path, "--folds", "3")
    assert main(folds) == 0
    printed = capsys.readouterr().out
    assert "3 pretrainings: 0 done, 3 missing\n27 evaluations: 0 done, 27 missing" in printed
    assert "forest on table: forest, seed 0, fold 2" in printed
    results = json.loads((tmp_path / TABLE.name / "results.json").read_text())
    assert {(run["seed"], run["fold"]) for run in results["runs"].values()} == {(0, 0), (0, 1), (0, 2)}
    assert {name: config["fold"] for name, config in results["configs"].items()} == {
        f"vime-0-fold{fold}": fold for fold in range(3)
    }
    cells = {(cell["row"], cell["column"]): cell for cell in results["cells"]}
    for row in ("vime", "scratch", "forest", "mlp"):
        errors = cells[row, "trainable"]["by_seed"]
        assert list(errors) == ["0-fold0", "0-fold1", "0-fold2"]
        # R² is of the same evaluation.
        scores = [score for score in results["scores"] if (score["row"], score["column"]) == (row, "trainable")]
        assert {score["fold"] for score in scores} == {0, 1, 2}
        assert cells[row, "r2"]["mean"] == pytest.approx(100 * np.mean([s["metrics"]["r2"] for s in scores]), abs=1e-3)
    relative = [
        100 * (1 - cells["vime", "trainable"]["by_seed"][fold] / cells["scratch", "trainable"]["by_seed"][fold])
        for fold in ("0-fold0", "0-fold1", "0-fold2")
    ]
    (claim,) = results["claims"]
    assert claim["differences"]["VIME − Same encoder from scratch"]["mean"] == pytest.approx(
        np.mean(relative), abs=1e-2
    )
    assert claim["published"] == {"VIME − Same encoder from scratch": "published, HIPMP: +1.48"}
    text = (tmp_path / TABLE.name / "table.txt").read_text()
    assert "test mean squared error of 'flux' (lower is better)" in text
    assert "1 pretraining seed and 3 folds" in text
    assert "Nadeau and Bengio's over folds" in text
    assert set(results["beside"]) == {"Other metrics", "Mean ranks", "Cost"}
    cost = {row[0]: row for row in results["beside"]["Cost"]}
    assert cost["Random forest"][1] == "–"
    assert cost["Random forest"][-1].endswith(" leaves")
    assert cost["VIME"][-1].endswith(" parameters")

    assert main(folds) == 0
    assert "3 done, 0 missing\n27 evaluations: 27 done, 0 missing" in capsys.readouterr().out
    assert (tmp_path / TABLE.name / "table.txt").read_text() == text

    used = command(USED, store, tmp_path, "--folds", "1")
    assert main(used) == 0
    assert "1 done, 0 missing\n3 evaluations: 0 done, 3 missing" in capsys.readouterr().out
    results = json.loads((tmp_path / USED.name / "results.json").read_text())
    rows = results["beside"]["Use of every column"]
    assert {row[0]: row[1] for row in rows[1:]} == {"size": "", "kind": "", "lot": "noise"}
    assert {cell["row"]: set(cell["by_seed"].values()) <= {0.0, 50.0, 100.0} for cell in results["cells"]} == {
        "vime": True, "scratch": True,
    }  # fmt: skip
    text = (tmp_path / USED.name / "table.txt").read_text()
    assert "test share of pairs in which noise is used less of 'flux' in percent" in text
    assert "Differences are in points of percent" in text
    page = (tmp_path / USED.name / "table.html").read_text()
    assert "Use of every column" in page


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--folds", "4"], "has too few folds: it has 3; name at most as many, or prepare it with --folds 4."),
        (["--folds", "3", "--config.fold=1"], "--config.fold: this key cannot be overridden, since --folds sets it."),
        (["--label", "lot"], "has no label 'lot'; it has flux."),
    ],
)
def test_what_folds_cannot_do(
    store: Store, tables: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert main(command(TABLE, store, tmp_path / "out", *more)) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.json"))


def test_tables_of_classes_refuse_numbers(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(store.directory), "--out", str(tmp_path / "out"), "--label", "flux"]
    assert main(["reproduce", "mmcl/table3", *options]) == 2
    assert "'flux' is continuous, and the paper's tables predict classes" in capsys.readouterr().err


def test_errors_are_compared_in_percent_and_paired_by_row() -> None:
    """The interval of a ratio of means over rows holds the ratio of the whole as often as it says."""
    rng = np.random.default_rng(0)
    inside, trials, rows = 0, 300, 120
    for _ in range(trials):
        hard = rng.exponential(size=rows)
        ours, theirs = ({seed: hard * rng.chisquare(1, rows) * scale for seed in range(4)} for scale in (0.8, 1.0))
        cells = {
            (name, "x"): GridCell({s: float(one.mean()) for s, one in by.items()}, by, lower=True, bounded=False)
            for name, by in (("a", ours), ("b", theirs))
        }
        one = contrast(cells, DIFFERENCE, Sample(rows, rows))
        assert one is not None
        ratio = [100 * (1 - ours[s].mean() / theirs[s].mean()) for s in range(4)]
        assert one.mean == pytest.approx(np.mean(ratio))
        assert one.test > 0
        inside += one.low <= 20 <= one.high
    assert inside / trials >= 0.95


def test_the_interval_over_folds_is_that_of_nadeau_and_bengio() -> None:
    values = {(seed, fold): float(10 * fold + seed) for seed in (0, 1) for fold in range(5)}
    cells = {("a", "x"): GridCell(values), ("b", "x"): GridCell(dict.fromkeys(values, 0.0))}
    one = contrast(cells, DIFFERENCE, None)
    by_fold = np.array([10 * fold + 0.5 for fold in range(5)])
    half = t.ppf(0.975, 4) * by_fold.std(ddof=1) * np.sqrt(1 / 5 + 1 / 3)
    assert one is not None
    assert (one.low, one.high) == pytest.approx((by_fold.mean() - half, by_fold.mean() + half))
    assert (one.seeds, one.above) == (10, 9)
    assert spread([1.0, 2.0], folds=[0, 1]).outcome == 0


def test_a_use_of_one_is_a_column_that_decides_everything() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 3))
    use = column_use(lambda given: given["table"][:, :1] * 7 + 3, rows, seed=0)
    assert use[0] == pytest.approx(1, abs=0.05)
    assert use[1:].tolist() == [0, 0]
    assert noise_below(use, np.array([False, False, True])) == 0.75
    assert column_use(lambda given: np.zeros((len(given["table"]), 2)), rows, seed=0).tolist() == [0, 0, 0]


def test_rivals_without_their_package_are_left_out_unless_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    rows = tuple(row for row in mt_cmtm.RIVAL_ROWS if row.key in ("forest", "catboost"))
    kept, (line,) = installed(rows, [])
    assert [row.key for row in kept] == ["forest"]
    assert line.startswith("CatBoost is left out: --protocol catboost: the package catboost is not installed")
    with pytest.raises(UserError, match="catboost is not installed"):
        installed(rows, ["catboost"])


def test_errors_are_shown_in_the_unit_of_the_label(made_up) -> None:
    table = dataclasses.replace(mmcl.TABLES[0], reference="mmcl")
    outcome = made_up(table, {"mmcl": {"frozen": [0.9] * 3}, "simclr": {"frozen": [0.8] * 3}})
    scores = {
        key: [dataclasses.replace(one, metrics={"mse": 0.0123 * (1 + (key[0] == "simclr"))}) for one in part]
        for key, part in outcome.scores.items()
    }
    outcome = dataclasses.replace(outcome, metric="mse", scores=scores)
    text = render_text(outcome)
    assert "0.0123 ± 0" in text
    assert "% better than MMCL" in text
    assert "-100.00" in text
    page = render_page(outcome, "")
    assert "<b>0.0123 ± 0</b>" in page


def test_rivals_take_no_schedule() -> None:
    column = TableColumn(
        key="x", heading="X", protocol="finetune", input="table", options={"schedule": "one_cycle", "missing": (0.3,)}
    )
    assert (FOREST.protocol(column), FOREST.options(column), FOREST.lent) == ("forest", {"missing": (0.3,)}, "columns")
    assert mmcl.VIME.options(column) == column.options
