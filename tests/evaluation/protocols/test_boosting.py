"""Tabular models on embeddings beside the columns of a table: boosting, and TabPFN by a double of its interface."""

import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols import boosting
from mmcl_jax.evaluation.protocols.boosting import TabularFeatures, check_tabular, tabular
from mmcl_jax.tasks import Class, Number, Numbers, Ordinal

SIZES = {"train": 200, "val": 80, "test": 90}


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few trees of one thread: threads that wait for each other are slow beside other tests."""
    monkeypatch.setattr(boosting, "TREES", 12)
    monkeypatch.setattr(boosting, "RATES", (0.1, 0.3))
    with threadpool_limits(1):
        yield


def planted(kind: str) -> tuple[TabularFeatures, TabularFeatures, dict[str, np.ndarray]]:
    """Embeddings know one half of the target, and a category, without order in its codes, knows the other half."""
    rng = np.random.default_rng(0)
    seen, columns, targets = {}, {}, {}
    for split, size in SIZES.items():
        embedding, code = rng.normal(size=(size, 3)), rng.integers(0, 6, size)
        secret = np.isin(code, (1, 4))
        number = 2.0 * (embedding[:, 0] > 0) + secret
        number[:4] = range(4)  # every class is in every split
        column = np.stack([code.astype(float), rng.normal(size=size)], axis=1)
        column[5] = np.nan
        seen[split], columns[split] = embedding, column
        targets[split] = number if kind == "number" else number.astype(np.int64)
    return (
        TabularFeatures(seen, np.zeros(3, bool)),
        TabularFeatures(columns, np.array([True, False])),
        targets,
    )


TASKS = {
    "class": Class(label="y", classes=4),
    "ordinal": Ordinal(label="y", classes=4),
    "number": Number(label="y"),
}


@pytest.mark.parametrize("kind", TASKS)
def test_both_together_know_more_than_either(kind: str) -> None:
    embeddings, columns, targets = planted(kind)
    task, rows = TASKS[kind], np.arange(SIZES["train"])
    reached = {}
    for name, given in {"embeddings": embeddings, "columns": columns, "both": embeddings.beside(columns)}.items():
        metrics, chosen, outputs = tabular(given, targets, rows, protocol="features", task=task, seed=(0, 0))
        again = tabular(given, targets, rows, protocol="features", task=task, seed=(0, 0))
        assert (metrics, chosen) == again[:2]
        assert outputs.shape == (SIZES["test"], task.outputs)
        assert chosen["learning_rate"] in (0.1, 0.3)
        assert 1 <= chosen["trees"] <= 12
        expected = task.metrics(outputs, targets["test"], shares=True)
        assert {key: metrics[key] for key in expected} == expected
        reached[name] = metrics[task.primary]
    assert task.better(reached["both"], reached["embeddings"])
    assert task.better(reached["both"], reached["columns"])


def test_the_number_of_trees_is_that_of_the_best_validation() -> None:
    """The same as a model of so many trees, by scikit-learn alone; no other setting is better on validation."""
    _, columns, targets = planted("class")
    task, rows = TASKS["class"], np.arange(0, 200, 2)
    metrics, chosen, outputs = tabular(columns, targets, rows, protocol="features", task=task, seed=(0, 1))

    def fitted(rate: float, trees: int) -> HistGradientBoostingClassifier:
        model = HistGradientBoostingClassifier(
            learning_rate=rate, max_iter=trees, min_samples_leaf=5, categorical_features=[0], early_stopping=False
        )
        return model.fit(columns.by_split["train"][rows], targets["train"][rows])

    best = fitted(chosen["learning_rate"], int(chosen["trees"]))
    np.testing.assert_allclose(best.predict_proba(columns.by_split["test"]), outputs, rtol=1e-9)
    assert metrics["log_loss"] == pytest.approx(log_loss(targets["test"], outputs))
    val = columns.by_split["val"], targets["val"]
    assert metrics["val_top1"] >= max(fitted(rate, trees).score(*val) for rate in (0.1, 0.3) for trees in (1, 12))


def test_a_class_that_was_not_drawn_has_no_share_and_columns_may_be_empty() -> None:
    _, columns, targets = planted("class")
    empty = TabularFeatures(
        {
            split: np.concatenate([columns.by_split[split], np.full((SIZES[split], 3), [np.nan, np.nan, 7.0])], axis=1)
            for split in SPLITS
        },
        np.array([True, False, True, False, False]),
    )
    rows = np.flatnonzero(targets["train"] != 2)
    metrics, _, outputs = tabular(empty, targets, rows, protocol="features", task=TASKS["class"], seed=(0, 0))
    assert (outputs[:, 2] == 0).all()
    np.testing.assert_allclose(outputs.sum(axis=1), 1)
    assert np.isfinite(metrics["top1"])


def test_tabpfn_gets_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double with the names and arguments of tabpfn's classes; its weights cannot be had in a test."""
    embeddings, columns, targets = planted("class")
    given = embeddings.beside(columns)
    calls: list[dict] = []

    class TabPFNClassifier:
        def __init__(self, *, categorical_features_indices: list[int], random_state: int) -> None:
            calls.append({"categorical": categorical_features_indices, "random_state": random_state})

        def fit(self, x: np.ndarray, y: np.ndarray) -> "TabPFNClassifier":
            self.classes_ = np.unique(y)
            calls[-1]["x"] = x
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (len(x), 1))

    monkeypatch.setitem(sys.modules, "tabpfn", types.SimpleNamespace(TabPFNClassifier=TabPFNClassifier))
    rows = np.arange(50)
    metrics, chosen, outputs = tabular(given, targets, rows, protocol="tabpfn", task=TASKS["class"], seed=(3, 0))
    assert calls[0]["categorical"] == [3]
    np.testing.assert_array_equal(calls[0]["x"], given.by_split["train"][:50])
    assert chosen == {}
    np.testing.assert_allclose(outputs[0], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert metrics["top1"] == np.mean(targets["test"] == 3)


def test_what_has_no_tabular_model_is_one_sentence(digits_store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="predicts one class, grade or number, so use --protocol probe"):
        check_tabular("features", Numbers(label="a+b", names=("a", "b")), digits_store)
    monkeypatch.setitem(sys.modules, "tabpfn", None)
    with pytest.raises(UserError, match="the package tabpfn is not installed; run `pip install tabpfn`"):
        check_tabular("tabpfn", TASKS["class"], digits_store)
