"""The command, end to end on real data: what is written, and that nothing is done twice."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.lock import is_held
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.reproduce import run

TINY = [
    "--epochs", "1", "--max-epochs", "2", "--learning-rates", "0.01", "--config.batch_size=64",
    "--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)", "--config.encoders.table.hidden=16",
]  # fmt: skip


def command(table: str, store: Store, out: Path, *more: str) -> list[str]:
    return ["reproduce", table, "--data", str(store.directory), "--out", str(out), *TINY, *more]


def changes(out: Path) -> dict[str, int]:
    """When each record of a run or an evaluation was written."""
    records = [*(out / "trainings").glob("*.json"), *(out / "evaluations").rglob("*.json")]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in records}


def test_table2_is_written_and_continued(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    table2 = command("mmcl/table2", digits_store, out, "--seeds", "2", "--methods", "mmcl_morphometric")
    assert main(table2) == 0
    printed = capsys.readouterr().out
    assert "4 pretrainings: 0 done, 4 missing" in printed
    assert "4 evaluations: 0 done, 4 missing" in printed
    text = (out / "mmcl" / "table2" / "table.txt").read_text()
    assert text in printed
    results = json.loads((out / "mmcl" / "table2" / "results.json").read_text())
    ours = {cell["row"]: cell for cell in results["cells"]}
    for key, label, number in (
        ("mmcl", "MMCL", "91.43 ± 0.13"),
        ("mmcl_morphometric", "MMCL, morphometric columns", "92.33 ± 0.05"),
    ):
        line = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
        assert [cell.strip() for cell in line.split("|")[2:4]] == [
            f"{ours[key]['mean']:.2f} ± {ours[key]['sd']:.2f}",
            number,
        ]
    assert results["configs"]["mmcl_morphometric-1"]["inputs"]["table"]["columns"] == "morphometric"
    assert results["configs"]["mmcl_morphometric-1"]["encoders"]["table"]["hidden"] == 16
    assert {run["steps"] for run in results["runs"].values()} == {18}
    assert len(results["scores"]) == 4
    assert results["store"]["fingerprint"] == digits_store.fingerprint
    assert results["command"].startswith("mmcl reproduce mmcl/table2 --data ")
    assert "'--config.encoders.image.channels=(4, 8)'" in results["command"]
    page = (out / "mmcl" / "table2" / "table.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "92.33 ± 0.05" in page

    # The same command does nothing again but write, and writes the same.
    before = changes(out)
    assert main(table2) == 0
    assert "4 pretrainings: 4 done, 0 missing\n4 evaluations: 4 done, 0 missing" in capsys.readouterr().out
    assert changes(out) == before
    assert (out / "mmcl" / "table2" / "table.txt").read_text() == text

    # An evaluation and a run that are lost are done again, and nothing else is.
    lost = next((out / "evaluations" / "mmcl_morphometric-0").iterdir())
    lost.unlink()
    (out / "runs" / "mmcl-1").rename(tmp_path / "gone")
    assert main(table2) == 0
    after = changes(out)
    assert after.keys() == before.keys()
    redone = {name for name in after if after[name] != before[name]}
    assert redone == {str(lost.relative_to(out)), "trainings/mmcl-1.json"}
    assert (out / "mmcl" / "table2" / "table.txt").read_text() == text

    # Another table of the same folder takes MMCL from there, with its evaluation.
    capsys.readouterr()
    table3 = command("mmcl/table3", digits_store, out, "--methods", "mmcl", "--seeds", "2")
    assert main(table3) == 0
    assert "2 pretrainings: 2 done, 0 missing\n2 evaluations: 2 done, 0 missing" in capsys.readouterr().out
    assert changes(out) == after

    # Other settings of an evaluation are another evaluation; those of a run are another folder.
    assert (
        main(command("mmcl/table3", digits_store, out, "--methods", "mmcl", "--seeds", "2", "--max-epochs", "1")) == 0
    )
    assert "2 pretrainings: 2 done, 0 missing\n2 evaluations: 0 done, 2 missing" in capsys.readouterr().out
    assert main([*table3, "--epochs", "2"]) == 2
    assert "config.epochs is 1 there and 2 here; choose another --out." in capsys.readouterr().err


def test_baselines_and_the_supervised_row(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["--methods", "supervised,random,pixels", "--seeds", "1", "--title", "Digits"]
    assert main(command("mmcl/table1", digits_store, tmp_path, *rows)) == 0
    assert "1 pretrainings: 0 done, 1 missing\n5 evaluations: 0 done, 5 missing" in capsys.readouterr().out
    results = json.loads((tmp_path / "mmcl" / "table1" / "results.json").read_text())
    methods = {(score["row"], score["column"]): score["method"] for score in results["scores"]}
    assert methods == {
        ("supervised", "trainable"): "supervised image",
        ("mmcl", "frozen"): "mmcl",
        ("mmcl", "trainable"): "mmcl",
        ("random", "frozen"): "random encoder",
        ("pixels", "frozen"): "pixels",
    }
    assert results["title"] == "Digits"
    assert {claim["verdict"] for claim in results["claims"]} <= {"undecided", "not judged"}


def test_a_training_that_is_asked_to_stop_ends_with_75_and_one_that_is_killed_is_taken_over(
    digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = run.pretrain

    def stopped(config, workdir, **options):
        result = trained(config, workdir, **options)
        return dataclasses.replace(result, step=result.steps - 1) if workdir.name == "mmcl-1" else result

    monkeypatch.setattr(run, "pretrain", stopped)
    table3 = command("mmcl/table3", digits_store, tmp_path, "--methods", "mmcl", "--seeds", "2")
    assert main(table3) == os.EX_TEMPFAIL
    assert not (tmp_path / "mmcl").exists()
    assert {name.split("/")[1] for name in changes(tmp_path)} == {"mmcl-0.json", "mmcl-0"}
    monkeypatch.undo()
    assert main(table3) == 0

    # A second process begins the same table elsewhere, is killed in its first pretraining, and this one does the rest.
    shared = tmp_path / "shared"
    words = command("mmcl/table3", digits_store, shared, "--methods", "mmcl", "--seeds", "2")
    capfd.readouterr()
    with subprocess.Popen([sys.executable, "-m", "mmcl_jax", *words], stdout=subprocess.DEVNULL) as other:
        wait_for(shared / "claims" / "mmcl-0.json", is_held)
        other.send_signal(signal.SIGSTOP)
        killer = threading.Thread(
            target=lambda: [wait_for(shared / "trainings" / "mmcl-1.json", Path.is_file), other.kill()]
        )
        killer.start()
        assert main(words) == 0
        killer.join()
    printed = capfd.readouterr().out
    assert re.findall("pretraining (. of 2: mmcl-.)", printed) == ["2 of 2: mmcl-1", "1 of 2: mmcl-0"]
    assert not list((shared / "claims").iterdir())
    alone, together = (json.loads((out / "mmcl/table3/results.json").read_text()) for out in (tmp_path, shared))
    assert together["scores"] == alone["scores"]
    assert together["cells"] == alone["cells"]


def wait_for(path: Path, there: Callable[[Path], bool]) -> None:
    """Wait until the file is there."""
    until = time.monotonic() + 120
    while not there(path):
        assert time.monotonic() < until, path
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("table", "more", "sentence"),
    [
        ("mmcl/table9", [], "There is no table 'mmcl/table9' (did you mean 'mmcl/table3'?); choose from mmcl/table1,"),
        (
            "mmcl/table1",
            ["--methods", "simclr,swav"],
            "--methods: mmcl/table1 has no method 'swav'; it has supervised,",
        ),
        ("mmcl/table1", ["--label", "price"], "has no label 'price'; it has digit."),
        ("mmcl/table1", ["--config.optimiser.name=sgd"], "config.optimiser: there is no such key (did you mean"),
        (
            "mmcl/table1",
            ["--config.seed=3"],
            "--config.seed: this key cannot be overridden, since the seeds are 0 to --",
        ),
        (
            "mmcl/table1",
            ["--config.epochs=3"],
            "--config.epochs: this key cannot be overridden, since --epochs sets it.",
        ),
        ("mmcl/table1", ["--config.batch_size=0"], "config.batch_size"),
        ("mmcl/table1", ["--config.objective.0.queue=0", "--methods", "nnclr"], "nnclr: config.objective.0"),
        ("mmcl/table3", ["--variant", "cardiac"], "has no subset 'train_balanced'"),
        (
            "mmcl/table1_table",
            ["--config.inputs.table.label_as_feature=True"],
            "mmcl: label_as_feature makes 'digit' a column of the table, so it cannot be predicted",
        ),
        (
            "mmcl/table1",
            ["--config.batch_norm.group_size=600", "--config.batch_size=600", "--methods", "supervised"],
            "mmcl: config.batch_norm.group_size: a batch of 512 has no whole group of 600",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, more: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    options = ["--data", str(digits_store.directory), "--out", str(out), "--epochs", "1", "--seeds", "1", *more]
    assert main(["reproduce", table, *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(out.rglob("config.json"))


def test_columns_of_table2_are_not_overridden(
    digits_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("mmcl/table2", digits_store, tmp_path, "--config.inputs.table.columns=all")) == 2
    assert "since the row mmcl_not_morphometric of the table sets it" in capsys.readouterr().err


def test_table2_needs_tagged_columns_and_every_table_a_label(
    raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(raw, tmp_path / "store")
    assert main(command("mmcl/table2", store, tmp_path / "out")) == 2
    assert f"in the store {store.directory} no column has it; tag columns in a --schema file" in capsys.readouterr().err
    store = prepare(dataclasses.replace(raw, label=()), tmp_path / "unlabelled")
    assert main(command("mmcl/table1", store, tmp_path / "out")) == 2
    assert f"The store {store.directory} has no label that is a class; prepare it with" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_evaluated_is_said_before_anything_is_pretrained(
    raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A binary label that is the same in all test rows; a class without test rows only costs a remark."""
    table = pl.read_csv(raw.table).with_columns(
        split=pl.Series(["train"] * 24 + ["val"] * 6 + ["test"] * 10),
        sold=pl.Series([("no", "yes")[row % 2 * (row < 30)] for row in range(40)]),
        model=pl.Series([f"m{row % 4}" for row in range(30)] + [f"m{row % 3}" for row in range(10)]),
    )
    table.write_csv(raw.table)
    request = dataclasses.replace(raw, label=("sold", "model"), split_column="split")
    store = prepare(request, tmp_path / "store")
    small = ["--config.batch_size=16", "--methods", "mmcl", "--seeds", "1"]
    table3 = command("mmcl/table3", store, tmp_path / "out", *small)
    table3.remove("--config.batch_size=64")
    assert main([*table3, "--label", "sold"]) == 2
    assert "have the same class of 'sold', so there is no AUROC; predict another --label" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/**/config.json"))
    assert main([*table3, "--label", "model"]) == 0
    assert "The split 'test' has no row of 1 class of 'model' ('m3')" in capsys.readouterr().out
    assert "No test row is of 1 class of the label ('m3')." in (tmp_path / "out/mmcl/table3/table.txt").read_text()
