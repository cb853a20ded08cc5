"""Nearest neighbours, against a float64 reference that holds all pairs."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mmcl_jax.evaluation.protocols import knn as module
from mmcl_jax.evaluation.protocols.knn import knn, knn_outputs, nearest
from mmcl_jax.tasks import Class, Number, Task

pytestmark = pytest.mark.core

KIND = Class(label="kind", classes=3)
PRICE = Number(label="price")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(bank, labels, queries, task: Task, k: int, temperature: float) -> np.ndarray:
    """Class shares, or weighted means."""
    cosines = unit(bank.astype(np.float64)) @ unit(queries.astype(np.float64)).T
    results = []
    for column in cosines.T:
        rows = np.argsort(-column, kind="stable")[:k]
        weights = np.exp(column[rows] / temperature)
        if isinstance(task, Number):
            results.append([np.average(labels[rows], weights=weights)])
        else:
            votes = np.bincount(labels[rows], weights, minlength=task.classes)
            results.append(votes / votes.sum())
    return np.array(results)


@pytest.mark.parametrize("k", [1, 7, 20])
@pytest.mark.parametrize("chunk", [2**24, 700])  # all queries at once; three at a time, the last chunk not full
def test_as_the_reference(k: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(200, 16)).astype(np.float32), rng.normal(size=(31, 16)).astype(np.float32)
    codes, prices = rng.integers(0, 3, 200), rng.normal(1e4, 3e3, 200)
    cosines, places = nearest(bank, queries, k)
    outputs = knn_outputs(cosines, codes[places], task=KIND, temperature=0.1)
    np.testing.assert_allclose(outputs, reference(bank, codes, queries, KIND, k, 0.1), atol=1e-5)
    outputs = knn_outputs(cosines, prices[places], task=PRICE, temperature=0.1)
    np.testing.assert_allclose(outputs, reference(bank, prices, queries, PRICE, k, 0.1), rtol=1e-5)


def test_no_more_similarities_than_a_chunk_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, top = [], module._top
    monkeypatch.setattr(module, "_CHUNK", 1000)
    monkeypatch.setattr(
        module, "_top", lambda bank, q, count: sizes.append(len(bank) * len(q)) or top(bank, q, count=count)
    )
    nearest(np.ones((100, 4)), np.ones((45, 4)), 2)
    assert sizes == [1000] * 5


def test_a_smaller_temperature_listens_to_the_nearest() -> None:
    cosines, codes = np.array([[0.9, 0.8, 0.8]]), np.array([[2, 1, 1]])
    assert knn_outputs(cosines, codes, task=KIND, temperature=0.01).argmax() == 2
    assert knn_outputs(cosines, codes, task=KIND, temperature=10.0).argmax() == 1


def clusters(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.arange(rows) % 3
    return (np.eye(3)[codes] + 0.6 * rng.normal(size=(rows, 3))).astype(np.float32), codes


def test_the_number_of_neighbours_is_chosen_on_validation() -> None:
    (bank, labels), val, test = clusters(300, 0), clusters(150, 1), clusters(150, 2)
    metrics, chosen = knn(bank, labels, val, test, task=KIND)
    reached = {
        k: KIND.metrics(np.log(reference(bank, labels, val[0], KIND, k, 0.07) + 1e-12), val[1])["top1"]
        for k in (1, 5, 20, 50)
    }
    assert metrics["val_top1"] == pytest.approx(max(reached.values()))
    assert chosen["neighbours"] == min(k for k, value in reached.items() if value == max(reached.values()))
    assert len(set(reached.values())) > 1
    expected = reference(bank, labels, test[0], KIND, int(chosen["neighbours"]), 0.07).argmax(axis=1)
    assert metrics["top1"] == pytest.approx((expected == test[1]).mean())


def test_a_small_budget_is_asked_for_no_more_neighbours_than_it_has() -> None:
    (bank, labels), val, test = clusters(6, 0), clusters(30, 1), clusters(30, 2)
    _, chosen = knn(bank, labels, val, test, task=KIND)
    assert chosen["neighbours"] in (1, 5)
    with pytest.raises(ValueError, match="6 labelled rows are fewer than 7 neighbours"):
        knn(bank, labels, val, test, task=KIND, neighbours=(7, 9))
    with pytest.raises(ValueError, match="count 20 is larger than the bank of 6 rows"):
        nearest(bank, val[0], 20)


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_votes_are_exact_and_metrics_those_of_scikit_learn(k: int, classes: int) -> None:
    """Rows with the same votes are tied to the last bit, whatever class they vote for and in whatever order."""
    task = Class(label="kind", classes=classes)
    rng = np.random.default_rng(k)
    targets, labels = np.arange(140) % classes, rng.integers(0, classes, (140, k))
    labels[:70] = labels[:70, :1]  # half of the rows have neighbours of one class
    cosines = np.ones((140, k))  # of one weight, so that the shares are counts of votes
    shares = knn_outputs(cosines, labels, task=task)
    counts = np.stack([(labels == code).sum(axis=1) for code in range(classes)], axis=1)
    assert (shares == counts / k).all()
    metrics = task.metrics(shares, targets, shares=True)
    codes = [1] if classes == 2 else range(classes)
    for name, measure in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
        assert metrics[name] == np.mean([measure(targets == code, counts[:, code]) for code in codes])


@pytest.mark.parametrize("k", [2, 5, 20])
def test_shares_do_not_depend_on_the_order_of_classes(k: int) -> None:
    rng = np.random.default_rng(0)
    cosines, labels = -np.sort(-rng.uniform(0.8, 1, (200, k)), axis=1), rng.integers(0, 3, (200, k))
    shares = knn_outputs(cosines, labels, task=KIND)
    for order in ((1, 2, 0), (2, 1, 0)):
        turned = knn_outputs(cosines, np.array(order)[labels], task=KIND)
        np.testing.assert_array_equal(turned[:, list(order)], shares)


@pytest.mark.parametrize("chunk", [300, 5_000, 2**24])
def test_neighbours_and_cosines_do_not_depend_on_the_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=(40, 33)).astype(np.float32)
    bank = np.concatenate([base, base, base * 3, rng.normal(size=(80, 33)).astype(np.float32)])  # many are the same row
    queries = np.concatenate([base[:11], rng.normal(size=(30, 33)).astype(np.float32)])
    whole = nearest(bank, queries, 5)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    for one, other in zip(nearest(bank, queries, 5), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (whole[1][:11, :2] == np.stack([np.arange(11), np.arange(11) + 40], axis=1)).all()  # ties: the first row
