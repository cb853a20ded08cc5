"""The commands, end to end on real data."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.cli.main import COMMANDS, main
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.prepare.request import Request

TINY = [
    "--config.epochs=1", "--config.schedule.warmup_epochs=0", "--config.batch_size=64",
    "--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)", "--config.encoders.table.hidden=16",
]  # fmt: skip


def test_prepare_pretrain_evaluate(
    digits_raw: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, "hidden-key")
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "HF_ENDPOINT", "AWS_ENDPOINT_URL", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://me:hidden-key@localhost:1/?token=hidden-key")
    store, run = tmp_path / "stores" / "digits", tmp_path / "runs" / "digits"
    prepare = [
        "prepare",
        "--table",
        str(digits_raw.table),
        "--images",
        str(digits_raw.images),
        "--image-column",
        "file",
    ]
    assert main([*prepare, "--label", "digit", "--ignore", "id", "--out", str(store)]) == 0
    out = capsys.readouterr().out
    assert "duplicate image 6" in out  # at this size, some scans are the same picture
    assert Store.open(store).sizes == {"train": 1396, "val": 199, "test": 399}
    assert "129 columns: 129 continuous" in out
    pretrain = ["pretrain", "--config", "digits_mmcl", f"--config.data={store}", "--workdir", str(run), *TINY]
    assert main(pretrain) == 0
    assert "21 steps in" in capsys.readouterr().out
    assert main([*pretrain, "--json"]) == 0  # the same command again has nothing left to do
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["run"], told["finished"], told["step"], told["host_ms"]) == (
        0, str(run), True, 21, None,
    )  # fmt: skip
    assert told["metrics"]["loss"] > 0
    evaluate = ["evaluate", "--run", str(run), "--per-class", "3", "--fraction", "1,0.1", "--seeds", "2"]
    assert main([*evaluate, "--json"]) == 0
    out, tables = capsys.readouterr()
    assert "labels: 3 per class" in tables
    assert "random encoder" in tables
    scores = json.loads((run / "evaluation.json").read_text())["scores"]
    told = json.loads(out)
    hidden = {"rows", "of", "mmcl_jax"}
    assert sorted(map(str, told["scores"])) == sorted(
        str({name: value for name, value in score.items() if name not in hidden}) for score in scores
    )
    (mean,) = (
        row["mean"] for row in told["means"]
        if (row["method"], row["budget"], row["metric"]) == ("digits_mmcl", "10 %", "top1")
    )  # fmt: skip
    ours = [s["metrics"]["top1"] for s in scores if (s["method"], s["budget"]) == ("digits_mmcl", "10 %")]
    assert mean == pytest.approx(sum(ours) / 2)
    (row,) = mj.runs(tmp_path)
    assert (row.state, row.step, row.steps, row.epochs_done, row.seed) == ("finished", 21, 21, 1.0, 2022)
    assert row.score == max(
        one["mean"] for one in told["means"] if (one["method"], one["metric"]) == ("digits_mmcl", "top1")
    )
    assert {score["budget"] for score in scores} == {"3 per class", "all", "10 %"}
    assert mj.report(run, rows=64).path.is_file()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hidden-key" in path.read_bytes()]
    assert all(0.1 < score["metrics"]["top1"] <= 1 for score in scores)


@pytest.mark.core
def test_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With small encoders; all else is as users have it."""

    def small(name: str, overrides: Sequence[str]) -> ConfigDict:
        return load(name, [*overrides, "encoders.image.channels=(4, 8)", "batch_norm.group_size=8"])

    monkeypatch.setattr("mmcl_jax.api.commands.quickstart.load", small)
    out = tmp_path / "first look"
    assert main(["quickstart", "--out", str(out), "--seeds", "1", "--epochs", "2", "--json"]) == 0
    told, printed = capsys.readouterr()
    assert json.loads(told)["path"] == f"{out}/results.json"
    assert len(json.loads(told)["scores"]) == 4 * (3 + 3 + 1)
    for word in ("pixels", "random encoder", "digits_mmcl", "digits_simclr", "results.json", "Next:"):
        assert word in printed
    assert f"--run '{out}/runs/digits_mmcl-0'" in printed  # what is printed can be typed
    assert (out / "report.html").as_uri() in printed
    page = (out / "report.html").read_text()
    assert "Comparison of 2 runs" in page
    assert "minus" in page  # the difference of the two methods
    assert page.count("Expected calibration error") == 2  # of a kept probe of each run
    results = json.loads((out / "results.json").read_text())
    assert results["summary"]["top1"].keys() == {"pixels", "random encoder", "digits_mmcl", "digits_simclr"}
    assert len(results["scores"]) == 4 * (3 + 3 + 1)
    assert results["configs"]["digits_mmcl-0"]["epochs"] == 2
    with Image.open(out / "curves.png") as picture:
        assert min(picture.size) > 500


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["pretrain", "--config", "mmcl", "--workdir", "run", "--config.epoch=3"],
            "config.epoch: there is no such key",
        ),
        (["pretrain", "--config", "mmcl", "--workdir", "run"], "config.data: '' must name a store"),
        (["pretrain", "--config", "none.py", "--workdir", "run"], "There is no config 'none.py'"),
        (["evaluate", "--run", "nowhere"], "nowhere is not a run"),
        (
            ["prepare", "--table", "no.csv", "--images", ".", "--image-column", "file", "--out", "store"],
            "The table no.csv does not exist",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mmcl {arguments[0]}: {sentence}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.core
def test_overrides_belong_to_pretrain(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", "--run", "x", "--config.epochs=3"])
    assert leaving.value.code == 2
    sentence = "--config.epochs=3 is an option of mmcl compile, pretrain, import and reproduce, not of mmcl evaluate"
    assert sentence in capsys.readouterr().err


@pytest.mark.core
def test_help_is_quick_and_lists_the_commands() -> None:
    """`mmcl --help` must not load JAX."""
    code = "import sys; from mmcl_jax.cli.main import main\ntry: main(['--help'])\nfinally: print('jax' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert printed.endswith("False\n")
    assert all(command in printed for command in COMMANDS)
