"""`mmcl evaluate` of labels of every kind, of several at once, and from inputs that are joined."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.training.loop import pretrain

FAST = ["--max-epochs", "1", "--learning-rates", "0.01", "--seeds", "1", "--baselines", ""]
TINY = [
    "encoders.image.channels=(4,)", "encoders.table.hidden=8", "encoders.table.features=8", "batch_size=16",
    "batch_norm.group_size=8", "epochs=1", "schedule.warmup_epochs=0", "monitor.epochs=9",
]  # fmt: skip
LABELS = "state,sold,leased,price,weight"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on forty advertisements, whose `state` is ordinal; rows lack `leased` and `weight` here and there."""
    root = tmp_path_factory.mktemp("ads")
    (root / "photos").mkdir()
    rng = np.random.default_rng(0)
    for row in range(40):
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(root / "photos" / f"{row}.png")
    split = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    binary = [("no", "yes")[row // 2 % 2] for row in range(40)]
    columns = {
        "file": [f"{row}.png" for row in range(40)],
        "seats": rng.normal(size=40).tolist(),
        "split": split,
        "state": [("poor", "fair", "good")[row % 3] for row in range(40)],
        "sold": [("no", "yes")[row % 2] for row in range(40)],
        "leased": [None if row % 5 == 0 else value for row, value in enumerate(binary)],
        "price": rng.normal(10_000, 3_000, 40).tolist(),
        "weight": [None if row % 4 == 0 else 1e-3 * float(row) for row in range(40)],
    }
    pl.DataFrame(columns).write_csv(root / "ads.csv")
    schema = {"columns": {"state": {"kind": "ordinal", "categories": ["poor", "fair", "good"]}}}
    (root / "schema.json").write_text(json.dumps(schema))
    files = ["--table", str(root / "ads.csv"), "--images", str(root / "photos"), "--image-column", "file"]
    options = ["--schema", str(root / "schema.json"), "--split-column", "split", "--label", LABELS, "--workers", "1"]
    assert main(["prepare", *files, *options, "--out", str(root / "store")]) == 0
    pretrain(load("digits_mmcl", [*TINY, f"data={root / 'store'}"]), root / "run", log=lambda line: None)
    return root / "run"


def evaluate(run: Path, *options: str) -> int:
    return main(["evaluate", "--run", str(run), *FAST, *options])


def scores(path: Path) -> list[dict]:
    return json.loads(path.read_text())["scores"]


def test_every_kind_of_label_in_one_call(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.json"
    labels = "state,sold,sold+leased,price,price+weight"
    options = ["--label", labels, "--protocol", "probe,knn,finetune", "--baselines", "columns", "--input", "table"]
    assert evaluate(run, *options, "--out", str(out)) == 0
    found = scores(out)
    metrics = {
        "state": ("ordinal", {"kappa", "mae"}), "sold": ("class", {"auroc", "top1"}),
        "sold+leased": ("multi_label", {"auroc_macro", "auroc_micro", "auroc/leased", "average_precision_micro"}),
        "price": ("number", {"mae", "r2", "pearson"}),
        "price+weight": ("numbers", {"r2", "mae", "rmse", "r2/price", "rmse/weight"}),
    }  # fmt: skip
    assert {(score["label"], score["task"]) for score in found} == {
        (label, task) for label, (task, _) in metrics.items()
    }
    for score in found:
        wanted = metrics[score["label"]][1]
        assert wanted <= set(score["metrics"])
        assert all(score["metrics"][name] is not None for name in wanted)
    assert len(found) == 5 * (3 + 2)  # columns have nothing to fine-tune
    printed = " ".join(capsys.readouterr().out.split())
    assert "test quadratic weighted kappa of state" in printed
    assert "test AUROC (micro) of sold+leased" in printed
    assert "test R² of price+weight" in printed
    assert evaluate(run, *options, "--out", str(out)) == 0
    assert "found 25 scores of this command in it" in capsys.readouterr().out


def test_an_ordinal_label_can_be_taken_as_a_class(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    assert evaluate(run, "--label", "state", "--out", str(out)) == 0
    assert evaluate(run, "--label", "state", "--task", "class", "--out", str(out)) == 0
    assert [(score["task"], "kappa" in score["metrics"]) for score in scores(out)] == [
        ("ordinal", True),
        ("class", False),
    ]


def test_both_is_image_and_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.json"
    assert evaluate(run, "--label", "sold", "--input", "both", "--out", str(out)) == 0
    assert evaluate(run, "--label", "sold", "--input", "image+table", "--out", str(out)) == 0
    assert "found 1 score of this command in it" in capsys.readouterr().out
    assert evaluate(run, "--label", "sold", "--input", "table+image", "--out", str(out)) == 0
    both, turned = scores(out)
    assert (both["input"], turned["input"]) == ("both", "table+image")
    assert both["metrics"]["auroc"] == pytest.approx(turned["metrics"]["auroc"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--input", "image+sound"], "--input: there is no input 'sound'; choose from image, table, both"),
        (["--input", "image+both"], "--input: there is no input 'both'"),
        (["--input", "image+image"], "--input image+image: 'image' is named twice"),
        (["--input", "both,image+table"], "--input: 'both' is named twice"),
        (["--label", "sold,model"], "has no label 'model'; it has state, sold, leased, price, weight"),
        (
            ["--label", "seats"],
            "has no label 'seats' (did you mean 'state'?); it has state, sold, leased, price",
        ),
        (["--label", "sold+price"], "--label sold+price: labels joined by '+' must all have two classes"),
        (["--label", "sold+sold"], "--label sold+sold: 'sold' is named twice"),
        (["--label", "sold,sold"], "--label: 'sold' is named twice"),
        (
            ["--label", "price", "--task", "class"],
            "--task class: the label 'price' (price is continuous) is no such task",
        ),
        (
            ["--label", "price", "--task", "rank"],
            "--task: there is no task 'rank'; choose from class, ordinal, ordinal_logits",
        ),
        (["--label", "price+weight", "--per-class", "3"], "'price+weight' are several labels and have no classes"),
    ],
)
def test_what_does_not_fit_is_named(
    options: list[str], sentence: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(run, "--out", str(tmp_path / "results.json"), *options) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results.json").exists()
