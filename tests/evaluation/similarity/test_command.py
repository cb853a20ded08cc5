"""The command on the initial weights of two runs: files, page, layers, checkpoints, and bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import parse_key
from mmcl_jax.evaluation.similarity import cca, linear_cka
from mmcl_jax.evaluation.similarity.layers import Layer, common_rows
from mmcl_jax.report.similarity import make
from mmcl_jax.report.similarity.plots import leaves_of
from mmcl_jax.training.runs.run import Run
from tests.pages import HOSTILE, Skeleton, is_closed


def stored(folder: Path, rows: int = 120, seed: int = 0) -> Store:
    random = np.random.default_rng(seed)
    table = pl.DataFrame({"key": [f"row{row}" for row in range(rows)], "size": random.normal(size=rows)})
    pixels = random.integers(0, 255, (rows, 8, 8, 1), np.uint8)
    return mj.prepare(table, pixels, key_column="key", split=(0.5, 0.1, 0.4), out=folder)


def begun(folder: Path, store: Store, seed: int) -> Run:
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "drawn", str(store.directory), 8, 1
    config.seed = seed
    config.inputs = {"image": input(), "table": input(missing="mean")}
    config.views = {"image": view("resized"), "table": view("rows")}
    config.encoders = {"image": encoder("cnn", channels=(4,)), "table": encoder("table_mlp", hidden=4, features=4)}
    config.projectors = {name: projector("mlp", hidden=4, out=4) for name in ("image", "image:table")}
    config.objective = (term("clip", between=("image:table", "table:none")),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return Run.begin(folder, config, store, Inputs.fit(config.inputs, store))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("similarity")
    store = stored(folder / "store")
    for seed in (0, 1):
        begun(folder / f"run{seed}", store, seed)
    begun(folder / "other", stored(folder / "elsewhere", seed=1), 0)
    return folder


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have their initial weights, at any of three steps."""

    def step(run: Run) -> int:
        return {"latest": 30, "best": 20}.get(str(run.checkpoint), 0) or int(run.checkpoint)

    monkeypatch.setattr(Run, "model", lambda run: run.untrained_model())
    monkeypatch.setattr(Run, "step", step)
    monkeypatch.setattr("mmcl_jax.evaluation.similarity.layers.steps_of", lambda folder: [30, 20, 10])


def command(world: Path, out: Path, *words: str, runs: tuple[str, ...] = ("run0",)) -> list[str]:
    return ["similarity", "--run", *(str(world / name) for name in runs), "--out", str(out), *words]


def test_a_comparison_has_every_pair_on_both_splits(world: Path, tmp_path: Path) -> None:
    words = ["--layer", "pooled,projection,local", "--input", "image", "--permutations", "8"]
    assert main(command(world, tmp_path / "out", *words, "--measure", "cka,cca,pwcca_morcos,kernel_cka")) == 0
    about = json.loads((tmp_path / "out" / "similarity.json").read_text())
    names = ["pooled", "projection", "projection:table", "local"]
    assert [one["name"] for one in about["representations"]] == names
    assert {(one["split"], one["measure"], one["rows"]) for one in about["matrices"]} == {
        (split, measure, rows)
        for split, rows in (("train", 60), ("test", 48))
        for measure in ("cka", "cca", "pwcca_morcos", "kernel_cka")
    }
    run = Run.open(world / "run0")
    store, test = run.store(), np.arange(48)
    pooled = Layer(run, "image", "pooled").features(store, "test", test)
    head = Layer(run, "image", "projection", "table").features(store, "test", test)
    by_measure = {one["measure"]: one for one in about["matrices"] if one["split"] == "test"}
    assert by_measure["cka"]["value"][0][2] == pytest.approx(linear_cka(pooled, head), abs=1e-9)
    assert by_measure["cca"]["value"][2][0] == pytest.approx(cca(pooled, head), abs=1e-9)
    assert by_measure["cka"]["value"][0][3] == pytest.approx(1)  # the pooled features of a cnn are the mean over places
    assert by_measure["cka"]["mean"][0][0] is None
    frame = pl.read_csv(tmp_path / "out" / "similarity.tsv", separator="\t")
    assert frame.filter(measure="cka", split="test").height == 6
    assert frame.filter(measure="pwcca_morcos", split="test").height == 12  # it has two values
    cell = frame.filter(measure="cca", split="test", first="pooled", second="projection:table").row(0, named=True)
    assert cell["at_or_above"] in np.arange(9) / 8
    assert cell["p_value"] == pytest.approx((8 * cell["at_or_above"] + 1) / 9)
    page = (tmp_path / "out" / "similarity.html").read_text()
    is_closed(page)
    assert Skeleton(page).elements.count(("svg", "class", "viewbox", "role")) == 8
    before = about.pop("command"), about
    again = mj.similarity(
        run, layer=["pooled", "projection", "local"], input="image", permutations=8, out=tmp_path / "out",
        measure=["cka", "cca", "pwcca_morcos", "kernel_cka"],
    )  # fmt: skip
    assert {name: value for name, value in again.about.items() if name != "command"} == before[1]
    assert "pooled and local" in again.describe()
    assert again.to_frame().equals(frame)


def test_modalities_runs_and_checkpoints_are_told_apart(world: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"measure": "cka", "permutations": 0, "split": "test", "rows": 20}
    runs = [world / "run0", world / "run1"]
    made = mj.similarity(runs, out=tmp_path / "runs", checkpoint=["kept", "latest"], **options)
    names = [one["name"] for one in made.about["representations"]]
    assert len(names) == 12
    assert names[:3] == ["run0, image, step 10", "run0, table, step 10", "run0, image, step 20"]
    (matrix,) = made.about["matrices"]
    assert (matrix["rows"], matrix["at_or_above"][0][1]) == (20, None)
    assert matrix["value"][0][2] == pytest.approx(1)  # the same weights
    assert matrix["value"][0][6] < 1 - 1e-6  # of another seed
    assert "page" in made.to_dict()


@pytest.mark.parametrize(
    ("runs", "words", "sentence"),
    [
        (("run0", "other"), (), "were trained on different stores"),
        (("run0",), ("--layer", "last"), "--layer: there is no layer 'last'"),
        (("run0",), ("--input", "photo"), "--input: there is no encoder 'photo'"),
        (("run0",), ("--input", "table", "--layer", "projection"), "has no projector of 'table'"),
        (("run0",), ("--input", "table", "--layer", "pooled,local"), "The encoder of 'table' has no local features"),
        (("run0",), ("--input", "image"), "there is one representation, and nothing to compare it with"),
        (("run0", "run0"), ("--input", "image"), "two representations are the same"),
        (("run0",), ("--measure", "kca"), "--measure: there is no measure 'kca'"),
        (("run0",), ("--split", "tests"), "--split: there is no split 'tests'"),
        (
            ("run0",),
            ("--rows", "4", "--measure", "cca"),
            "with no more rows than features, canonical",
        ),
        (("run0",), ("--rows", "1"), "--rows: must be at least 2"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    world: Path, tmp_path: Path, runs: tuple[str, ...], words: tuple[str, ...], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(command(world, tmp_path / "out", "--permutations", "0", *words, runs=runs)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_kept(world: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(command(world, tmp_path)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_rows_are_drawn_by_the_seed(world: Path) -> None:
    run = Run.open(world / "run0")
    layers, store = [Layer(run, "image", "pooled")], run.store()
    first, again, other = (common_rows(layers, store, "test", most=9, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert len(np.unique(first)) == 9
    assert (first != other).any()
    assert [parse_key(key).head for key in run.config.projectors] == ["", "table"]


def test_hostile_names_stay_text(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [HOSTILE[0], HOSTILE[4]]
    monkeypatch.setattr(make, "names_of", lambda layers: names)
    mj.similarity(world / "run0", out=tmp_path / "out", layer=["pooled"], measure="cka", permutations=0, split="test")
    is_closed((tmp_path / "out" / "similarity.html").read_text())


def test_a_dendrogram_joins_the_likest_first() -> None:
    values = np.array([[1, 0.2, 0.9, 0.1], [0.2, 1, 0.3, 0.8], [0.9, 0.3, 1, 0.2], [0.1, 0.8, 0.2, 1]])
    order, branches = leaves_of(values)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 2)), frozenset((1, 3))}
    heights = sorted(max(distances) for _, distances in branches)
    assert heights == pytest.approx([0.1, 0.2, 0.8])
