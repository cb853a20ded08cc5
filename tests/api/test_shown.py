"""What results print, and how they show themselves in a notebook: foreign text is never markup."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.api.commands.reproduce import Reproduced
from mmcl_jax.api.scores import Scores
from mmcl_jax.config import load
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.evaluation.results.scores import Score

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> mj.Store:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({
        EVIL: rng.choice([f"{EVIL}a", "b", "c"], 30), "model": [f"{EVIL}{i % 2}" for i in range(30)],
        "twin": [i % 2 for i in range(30)],
    })  # fmt: skip
    images = rng.integers(0, 256, (30, 6, 8, 1), np.uint8)
    return mj.prepare(table, images, label="model", out=tmp_path_factory.mktemp("shown") / "<b>store")


def test_a_store(store: mj.Store) -> None:
    html = store._repr_html_()
    assert "<script" not in html
    assert "<b>store" not in html
    assert html.count("data:image/png;base64,") == 8
    for word in ("train 21", "val 3", "test 6", "twin"):
        assert word in html
        assert word in repr(store)
    assert "left out: the label" in repr(store)


def test_what_a_check_finds(store: mj.Store) -> None:
    table = pl.DataFrame({"a": range(20), EVIL: ["x", "y"] * 10})
    found = mj.prepare(table, np.zeros((20, 4, 4), np.uint8), duplicates="keep", check=True)
    assert "20 rows of 20 kept" in repr(found)
    assert "<script" not in found._repr_html_()
    assert "&lt;script" in found._repr_html_()


def test_a_run(store: mj.Store, tmp_path: Path) -> None:
    config = load("digits_mmcl", [f"data={store.directory}"])
    config.name = EVIL
    run = mj.Run.begin(tmp_path / "run", config, store, Inputs.fit(config.inputs, store))
    assert "nothing is logged yet" in repr(run)
    assert run._repr_png_() is None
    lines = [
        {"step": step, "loss": loss, "skipped": 0.0, "seconds": 1.5} for step, loss in ((1, 3.5), (2, None), (3, 2.25))
    ]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [line["loss"] for line in run.metrics()] == [3.5, pytest.approx(np.nan, nan_ok=True), 2.25]
    assert "step 3" in repr(run)
    assert "loss 2.25" in repr(run)
    html = run._repr_html_()
    assert "<script" not in html
    assert "2.25" in html
    picture = run._repr_png_()
    assert picture is not None
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size[0] > 500


def test_scores() -> None:
    made = [
        Score(method=method, seed=seed, protocol="probe", input="image", label="model", task="class", budget=budget,
              draw=0, metrics={"top1": top1 + seed / 100, "auroc": 0.9}, chosen={"learning_rate": 0.01})
        for method, top1 in ((EVIL, 0.75), ("pixels", 0.5)) for seed in (0, 1) for budget in ("all", "10 %")
    ]  # fmt: skip
    scores = Scores(tuple(made), note="Written to evaluation.json.")
    assert len(scores) == 8
    assert scores[0] == made[0]
    assert list(scores[2:4]) == made[2:4]
    assert "0.755 ± 0.007" in repr(scores)
    assert repr(scores).endswith("Written to evaluation.json.")
    html = scores._repr_html_()
    assert "<script" not in html
    assert html.count("<table") == 2
    assert "0.755 ± 0.007" in html
    table = scores.to_frame()
    assert table.height == 8
    assert table.filter(method="pixels", seed=1, budget="all")["top1"].to_list() == [0.51]
    assert repr(Scores(())) == "no scores"


def test_a_reproduced_table(tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_text("the table")
    (tmp_path / "table.html").write_text(f'<p title="x">{EVIL}</p>')
    done = Reproduced(tmp_path, finished=True)
    assert repr(done) == "the table"
    assert "<script" not in done._repr_html_()
    assert "sandbox" in done._repr_html_()
    assert "not finished" in repr(Reproduced(tmp_path, finished=False))
