"""MulTaBench's layout and splits, on a small folder in its format; its scores, by a double of its package."""

import hashlib
import json
import sys
import types
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from mmcl_jax import datasets as recipes
from mmcl_jax.data.store import Store
from mmcl_jax.datasets.multabench.published import Published, published
from mmcl_jax.datasets.multabench.splits import draw_splits
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.leaderboard import leaderboard
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request

TABLE = "core-img-cls-petfinder"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pets as the package's data_dir has them: typed Parquet, metadata and unpacked images."""
    root = tmp_path_factory.mktemp("multabench")
    folder, rng = root / TABLE, np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for row in range(60):
        Image.fromarray(rng.integers(0, 255, (10, 8, 3), np.uint8)).save(folder / f"images/{row}.png")
    pl.DataFrame(
        {
            "Age": rng.integers(1, 99, 60),
            "Fee": [None if row % 7 == 0 else float(row) for row in range(60)],
            "Vaccinated": rng.choice(["yes", "no", "unsure"], 60),
            "image": [f"images/{row}.png" for row in range(60)],
            "AdoptionSpeed": [str(row % 3) for row in range(60)],
        }
    ).write_parquet(folder / "data.parquet")
    metadata = {"target": "AdoptionSpeed", "image_col": "image", "task_type": "cls"}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return root


def digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.asarray(rows, np.int64).tobytes()).hexdigest()[:12]


# sha256 of the sorted rows of `multabench.benchmark.splits.get_split` (0.1.1): classes, split, size: train, test.
PACKAGE = {
    ("class", 0, "10k"): ("e3251f56d5db", "5c915748df2d"),
    ("class", 4, "full"): ("7137edc6a48b", "0d64afe95926"),
    ("number", 5, "10k"): ("a66b8016cf5e", "bc2bb3dc04db"),
    ("number", 1, "full"): ("838c9548889c", "adaf273bba77"),
    ("rare", 2, "10k"): ("df33543b2d3d", "709264a93c4d"),
}


@pytest.mark.parametrize(("kind", "split", "size"), PACKAGE)
def test_the_splits_are_the_packages(kind: str, split: int, size: str) -> None:
    number = np.random.default_rng(1).normal(size=21_000)
    targets = {"number": number, "class": np.arange(21_000) % 7, "rare": np.array(["b"] * 20_998 + ["a"] * 2)}[kind]
    drawn = draw_splits(targets, split, classes=kind != "number", size=size)
    train = np.sort(np.concatenate([drawn["train"], drawn["val"]]))
    assert (digest(train), digest(drawn["test"])) == PACKAGE[kind, split, size]
    assert len(drawn["val"]) == 1_000
    assert not set(drawn["train"]) & set(drawn["val"])


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    recipe = recipes.make("multabench", data, [f"table={TABLE}", "split=4"])
    return prepare(Request(), tmp_path_factory.mktemp("stores") / "pets", recipe=recipe)


def test_a_store_holds_one_split_of_the_benchmark(store: Store) -> None:
    expected = draw_splits(np.array([str(row % 3) for row in range(60)]), 4, classes=True, size="10k")
    assert store.sizes == {"train": 36, "val": 4, "test": 20}
    for split, rows in expected.items():
        assert sorted(int(key) for key in store.keys(split)) == rows.tolist()
    assert [column.name for column in store.schema.entries["table"].columns] == ["Age", "Fee", "Vaccinated"]
    assert [(column.name, column.categories) for column in store.schema.labels] == [("AdoptionSpeed", ("0", "1", "2"))]


def spoil_metadata(folder: Path) -> None:
    (folder / "metadata.json").write_text("[]")


def spoil_parquet(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"PAR1")


def lose_targets(folder: Path) -> None:
    rows = pl.read_parquet(folder / "data.parquet")
    rows.with_columns(AdoptionSpeed=pl.when(pl.int_range(60) > 2).then("AdoptionSpeed")).write_parquet(
        folder / "data.parquet"
    )


def keep_shards_alone(folder: Path) -> None:
    (folder / "images").rename(folder / "elsewhere")
    (folder / "images-000.zip").touch()


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (None, ["split=6"], "--dataset.split: choose 0 to 5, not 6."),
        (None, ["size=all"], "--dataset.size: choose one of 10k, full, not 'all'."),
        (None, ["table=core-img-cls-pet"], f"has no data set 'core-img-cls-pet'; it has {TABLE}."),
        (None, ["table="], f"has no data set ''; it has {TABLE}."),
        (spoil_metadata, [], "metadata.json must be an object, not a list; metadata of"),
        (spoil_parquet, [], "data.parquet cannot be read as Parquet"),
        (lose_targets, [], "3 rows have no 'AdoptionSpeed', so the splits are not defined"),
        (keep_shards_alone, [], "has no folder images; unzip images-*.zip in it."),
    ],
)
def test_what_is_no_data_set_is_one_sentence(spoil, options, sentence: str, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / TABLE
    folder.mkdir()
    for name in ("data.parquet", "metadata.json"):
        (folder / name).write_bytes((data / TABLE / name).read_bytes())
    (folder / "images").mkdir()
    if spoil:
        spoil(folder)
    with pytest.raises(UserError) as raised:
        recipes.make("multabench", tmp_path, [f"table={TABLE}", *options])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def score(method: str, loss: float, budget: str = "all") -> Score:
    return Score(
        method=method, seed=0, protocol="features", input="image", label="AdoptionSpeed", budget=budget, draw=0,
        metrics={"log_loss": loss}, chosen={},
    )  # fmt: skip


def test_published_scores_of_the_split_stand_in_the_same_table(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class MulTaBenchDatasetID(Enum):
        MUL_IMAGE_PETFINDER = TABLE

    runs = pd.DataFrame(
        [
            ("LightGBM", "MUL_IMAGE_PETFINDER", "dino-small", 4, "ok", "log_loss", -0.5, 0.5),
            ("CatBoost", "MUL_IMAGE_PETFINDER", "dino-small", 4, "ok", "log_loss", -0.3, 0.3),
            ("CatBoost", "MUL_IMAGE_PETFINDER", "dino-small", 3, "ok", "log_loss", -0.1, 0.1),
            ("TabM", "MUL_IMAGE_PETFINDER", "dino-small", 4, "error", "", np.nan, np.nan),
            ("TabM", "MUL_IMAGE_CHEXPERT", "dino-small", 4, "ok", "log_loss", -0.2, 0.2),
        ],
        columns=["model", "dataset", "image_encoder", "fold", "status", "metric", "test_score", "test_error"],
    )
    package = types.SimpleNamespace(MulTaBenchDatasetID=MulTaBenchDatasetID, load_published_results=lambda size: runs)
    monkeypatch.setitem(sys.modules, "multabench", package)
    assert published(store) == [
        Published("LightGBM (dino-small)", "log_loss", 0.5), Published("CatBoost (dino-small)", "log_loss", 0.3)
    ]  # fmt: skip
    another = types.SimpleNamespace(made_by={"recipe": {"name": "multabench", "options": ["table=mine"]}})
    assert published(another) == []
    ours = [score("columns", 0.6), score("mmcl + columns", 0.4), score("mmcl + columns", 0.1, "1 %")]
    (grid,) = leaderboard(ours, store)
    assert [row[0] for row in grid.rows] == [
        "CatBoost (dino-small)", "mmcl + columns", "LightGBM (dino-small)", "columns"
    ]  # fmt: skip
    assert grid.rows[1] == ["mmcl + columns", "features on image", "0.4000"]
    monkeypatch.setitem(sys.modules, "multabench", None)
    (alone,) = leaderboard(ours, store)
    assert (len(alone.rows), "Install multabench" in alone.note) == (2, True)


def test_a_store_of_other_data_has_no_leaderboard(digits_store: Store) -> None:
    assert leaderboard([score("columns", 0.6)], digits_store) == []
