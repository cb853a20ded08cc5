"""Inside a fold everything is fitted on the fold's training rows: what the other rows hold changes no bit."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.inputs import OPTIONS, Inputs, input_arrays
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.encoded import EncodedRows
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.evaluation.protocols import boosting
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.files import atomic
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run

ROWS, FOLDS, FOLD = 80, 4, 1
COLOURS, SIZES, KINDS = ("blue", "green", "red"), ("10", "20", "30"), ("cat", "dog")
POLICIES = ("refuse", "mean", "iterative", "token", "indicator")


def planted(directory: Path, *, poisoned: bool) -> Store:
    """Write a store of which a poisoned one differs in the rows of the test and the validation fold alone.

    Those rows have categories and classes of their own, which come first in order, so that all codes are others; huge
    numbers; and other pictures and scores.
    """
    rng = np.random.default_rng(0)
    folds = [np.arange(start, ROWS, FOLDS) for start in range(FOLDS)]
    outside = np.isin(np.arange(ROWS), np.concatenate([folds[FOLD], folds[FOLD + 1]])) & poisoned
    texts = {
        name: np.where(outside, f"0 {name}", rng.choice(values, ROWS))
        for name, values in (("colour", COLOURS), ("size", SIZES), ("kind", KINDS))
    }
    categories = {name: tuple(sorted(set(values))) for name, values in texts.items()}
    columns = (
        Column(name="colour", kind="categorical", categories=categories["colour"]),
        Column(name="size", kind="ordinal", categories=categories["size"]),
        Column(name="flag", kind="boolean", categories=("false", "true")),
        Column(name="weight", kind="continuous"),
        Column(name="price", kind="continuous", scaling="quantile"),
        Column(name="length", kind="continuous", scaling="log"),
    )
    labels = (
        Column(name="kind", kind="categorical", categories=categories["kind"]),
        Column(name="n", kind="continuous"),
    )
    codes = {name: np.searchsorted(categories[name], values).astype(float) for name, values in texts.items()}
    numbers = np.where(outside[:, None], 1e6, rng.lognormal(size=(ROWS, 3)))
    table = np.column_stack([codes["colour"], codes["size"], rng.integers(0, 2, ROWS), numbers])
    pictures = np.where(outside[:, None, None, None], 255, rng.integers(0, 200, (ROWS, 8, 8, 1))).astype(np.uint8)
    scores = np.where(outside[:, None], 1e6, rng.normal(size=(ROWS, 4))).astype(np.float32)
    content = Content(
        parts={
            "image": Part(entry=Entry(kind="image", shape=(8, 8, 1), dtype="uint8"), values=pictures),
            "table": Part(entry=Entry.table(columns), values=table),
            "scores": Part(entry=Entry(kind="vector", shape=(4,), dtype="float32"), values=scores),
            "labels": Part(
                entry=Entry.table(labels, role="target"), values=np.column_stack([codes["kind"], rng.normal(size=ROWS)])
            ),
        },
        id=np.arange(ROWS),
        keys=[str(row) for row in range(ROWS)],
        splits=dict(zip(("train", "val", "test"), np.split(np.arange(ROWS), (50, 60)), strict=True)),
        folds=folds,
    )
    with atomic(directory) as partial:
        partial.mkdir(parents=True)
        write(partial, content, description="Planted")
        finish(partial)
    return Store.open(directory)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """The planted store, and the poisoned one."""
    root = tmp_path_factory.mktemp("folds")
    return planted(root / "clean", poisoned=False), planted(root / "poisoned", poisoned=True)


def written(directory: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def same(first: Inputs, second: Inputs, root: Path) -> None:
    """Check that two runs would save the same inputs."""
    folders = root / "first", root / "second"
    for folder, inputs in zip(folders, (first, second), strict=True):
        folder.mkdir()
        inputs.write(folder)
    saved = [written(folder) for folder in folders]
    assert saved[0].keys() == saved[1].keys()
    assert [name for name in saved[0] if saved[0][name] != saved[1][name]] == []
    assert first.specs == second.specs


@pytest.mark.parametrize("missing", POLICIES)
@pytest.mark.parametrize("others", [{}, {"label_as_feature": True}, {"outside": "clip"}])
def test_nothing_that_is_fitted_depends_on_other_rows(
    stores: tuple[Store, Store], missing: str, others: dict, tmp_path: Path
) -> None:
    options = {"table": {**OPTIONS, "missing": missing, **others}, "scores": OPTIONS}
    fitted = [Inputs.fit(options, store, fold=FOLD) for store in stores]
    same(*fitted, tmp_path)
    arrays = [input_arrays(store, "train", inputs) for store, inputs in zip(stores, fitted, strict=True)]
    for name in arrays[0]:
        np.testing.assert_array_equal(*(np.asarray(each[name][:]) for each in arrays), err_msg=name)
    read = Inputs.read(tmp_path / "second", options, fold=FOLD)
    for split in ("train", "val", "test"):  # the saved inputs encode the store as those that were fitted
        if missing == "refuse" and split != "train":
            continue
        first, second = (input_arrays(stores[1], split, inputs) for inputs in (fitted[1], read))
        np.testing.assert_array_equal(first["table"], second["table"])


def test_baselines_of_a_run_without_a_table_are_of_the_fold_too(stores: tuple[Store, Store], tmp_path: Path) -> None:
    same(*(Inputs.fit({"image": OPTIONS}, store, fold=FOLD) for store in stores), tmp_path)


def test_categories_that_no_training_row_has_are_unknown(stores: tuple[Store, Store]) -> None:
    """In all splits and under every policy; and a class that no training row has is none."""
    _, store = stores
    inputs = Inputs.fit({"table": {**OPTIONS, "missing": "indicator"}}, store, fold=FOLD)
    assert [column.categories for column in inputs.schema.columns[:3]] == [COLOURS, SIZES, ("false", "true")]
    assert inputs.schema.labels[0].categories == KINDS
    encoding = inputs.tables["table"]
    for split, unknown in (("train", False), ("val", True), ("test", True)):
        rows = store.read(split, ["table"], fold=FOLD)["table"]
        raw = EncodedRows(rows, store.schema, encoding).raw(slice(None))
        assert ((raw[:, :2] == -1) == unknown).all()
        assert not (raw[:, 2:] == -1).any()
        arrays = input_arrays(store, split, inputs)
        assert np.isnan(arrays["table"][:, :2]).all() == unknown
        assert ((arrays["target/kind"] == -1) == unknown).all()
    counts = Statistics.fit(np.array([[0.0], [2.0], [-1.0]])[:2], store.schema.with_columns(store.schema.columns[:1]))
    cells = np.array([[0.0], [1.0], [2.0], [-1.0], [np.nan]])
    unseen = counts.unseen(cells, store.schema.with_columns(store.schema.columns[:1]))
    assert unseen[:, 0].tolist() == [False, True, False, True, False]


def test_the_splits_of_the_store_keep_all_of_its_categories(stores: tuple[Store, Store]) -> None:
    _, store = stores
    inputs = Inputs.fit({"table": {**OPTIONS, "missing": "token"}}, store)
    assert inputs.schema == store.schema
    assert inputs.tables["table"].statistics == store.statistics


def trained(store: Store, where: Path) -> Run:
    """Pretrain with terms that read categories and classes, and a view that draws from the training rows."""
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs, config.fold = "fold", str(store.directory), 16, 2, FOLD
    config.monitor.epochs, config.batch_norm.group_size, config.log_every = 9, 8, 1
    config.inputs = {"image": input(), "table": input(missing="mean")}
    config.views = {"image": view("augment"), "table": view("scarf", modality="table", rate=0.5)}
    config.encoders = {"image": encoder("cnn", channels=(4,)), "table": encoder("table_mlp", hidden=8, features=8)}
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "table")}
    config.objective = (
        term("clip", between=("image", "table"), labels="attract", target="kind"),
        term("supervised", between=("table",), target="kind"),
    )
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return pretrain(config, where, devices=jax.devices()[:1], log=lambda line: None).run


def test_a_run_on_a_fold_has_the_same_bits_whatever_the_other_rows_hold(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "TREES", 4)
    runs = [trained(store, tmp_path / store.directory.name) for store in stores]
    weights = [jax.tree.leaves(nnx.state(run.model())) for run in runs]
    assert [leaf.shape for leaf in weights[0]] == [leaf.shape for leaf in weights[1]]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
    losses = [
        [json.loads(line)["loss"] for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
        for run in runs
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    saved = [written(run.directory) for run in runs]
    fitted = [name for name in saved[0] if name.endswith(("schema.json", "statistics.json", "encoding.json"))]
    assert len(fitted) == 3
    assert [name for name in fitted if saved[0][name] != saved[1][name]] == []

    # Its store has further categories, and all test rows are of a class that no training row has.
    options = EvaluationOptions(
        protocols=("knn", "features"), inputs=("table",), baselines=("columns",), label=("n", "kind"), draws=1
    )
    said: list[str] = []
    scores = evaluate_runs(runs[1:], stores[1], options, log=said.append)
    assert {(score.method, score.fold) for score in scores} == {
        (method, FOLD) for method in ("columns", "fold", "fold + columns")
    }
    assert {score.metrics["top1"] for score in scores if score.label == "kind"} == {0.0}
    assert any("The split 'train' has no row of 1 class of 'kind' ('0 kind')" in line for line in said)
