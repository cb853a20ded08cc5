"""Linear heads."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from mmcl_jax.evaluation.heads.batches import drawn_batches
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.probe import Labelled, ProbeSettings, train_heads
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.tasks import Class, Number, Task

pytestmark = pytest.mark.core

PRICE = Number(label="price")


def classes(count: int) -> Task:
    return Class(label="kind", classes=count)


def blobs(rows: int, seed: int, *, noise: int = 0, count: int = 3) -> Labelled:
    """Separable classes in the first columns, noise in the rest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % count
    signal = np.eye(count)[labels] * 3 + rng.normal(size=(rows, count))
    return Labelled(np.concatenate([signal, rng.normal(size=(rows, noise))], axis=1).astype(np.float32), labels)


def one(train: Labelled, val: Labelled, task: Task, **options) -> Trained:
    """One draw: all rows."""
    (head,) = train_heads(
        train, val, np.arange(len(train.targets))[None], ProbeSettings(task=task, **options), seeds=[(0, 0)]
    )
    return head


def top1(head: Trained, test: Labelled) -> float:
    return float((head.outputs(test.features).argmax(axis=1) == test.targets).mean())


def test_separable_classes_are_learnt_and_shuffled_labels_are_not() -> None:
    train, val, test = (blobs(300, seed) for seed in range(3))
    heads = one(train, val, classes(3))
    assert top1(heads, test) > 0.9
    shuffled = Labelled(train.features, np.random.default_rng(0).permutation(train.targets))
    assert top1(one(shuffled, val, classes(3)), test) < 0.6


@pytest.mark.parametrize("per_class", [5, 20, None])
def test_as_good_as_logistic_regression_on_digits(per_class: int | None) -> None:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    standard = Standard.of(images[:800])
    train, val, test = map(standard.apply, (images[:800], images[800:1000], images[1000:]))
    budget = Budget() if per_class is None else Budget(per_class=per_class)
    draws = np.stack([budget.draw(labels[:800], (0, draw)) for draw in range(3)])
    heads = train_heads(
        Labelled(train, labels[:800]),
        Labelled(val, labels[800:1000]),
        draws,
        ProbeSettings(task=classes(10)),
        seeds=[(0, draw) for draw in range(3)],
    )
    ours = np.mean([top1(head, Labelled(test, labels[1000:])) for head in heads])
    theirs = []
    for rows in draws:
        models = [LogisticRegression(C=c, max_iter=3000).fit(train[rows], labels[rows]) for c in (1e-2, 1e-1, 1e0)]
        best = max(models, key=lambda model: model.score(val, labels[800:1000]))
        theirs.append(best.score(test, labels[1000:]))
    assert ours > np.mean(theirs) - 0.02


def test_few_labels_among_much_noise_as_logistic_regression() -> None:
    """What a second moment per weight fails at: it moves weights of noise as fast as those of signal."""
    train, val, test = (blobs(rows, seed, noise=200, count=5) for rows, seed in ((40, 0), (400, 1), (2000, 2)))
    theirs = LogisticRegression(C=1e-2, max_iter=3000).fit(train.features, train.targets)
    assert top1(one(train, val, classes(5)), test) > theirs.score(test.features, test.targets) - 0.02


def test_a_head_is_the_same_alone_and_among_others() -> None:
    train, val = blobs(700, 0, noise=5), blobs(100, 1, noise=5)  # two minibatches per epoch, so order counts
    rows = np.stack([np.random.default_rng(draw).permutation(700)[:600] for draw in range(3)])
    seeds = [(4, draw) for draw in range(3)]
    options = {"task": classes(3), "max_epochs": 4}
    together = train_heads(train, val, rows, ProbeSettings(learning_rates=[1e-3, 1e-2], **options), seeds=seeds)
    for draw in range(3):
        (alone,) = train_heads(
            train,
            val,
            rows[draw : draw + 1],
            ProbeSettings(learning_rates=[together[draw].rate], **options),
            seeds=seeds[draw : draw + 1],
        )
        np.testing.assert_allclose(alone.params["kernel"], together[draw].params["kernel"], atol=1e-5)
    (other,) = train_heads(train, val, rows[:1], ProbeSettings(learning_rates=[1e-3, 1e-2], **options), seeds=[(5, 0)])
    assert (
        np.abs(other.params["kernel"] - together[0].params["kernel"]).max() > 1e-4
    )  # its order of minibatches is another


def test_the_learning_rate_is_chosen_on_validation() -> None:
    train, val = blobs(60, 0, noise=50), blobs(300, 1, noise=50)
    rates = [1e-1, 1e-2, 1e-7]
    reached = {rate: top1(one(train, val, classes(3), learning_rates=[rate], max_epochs=5), val) for rate in rates}
    both = one(train, val, classes(3), learning_rates=rates, max_epochs=5)
    assert top1(both, val) == max(reached.values())
    assert reached[both.rate] == max(reached.values())


def test_a_head_stops_ten_rounds_after_its_best_and_the_best_is_kept() -> None:
    train, val = blobs(300, 0, noise=200), blobs(300, 1, noise=200)
    best = one(train, val, classes(3), learning_rates=[3e-2])
    assert 10 < best.rounds < 500
    curve = [
        top1(one(train, val, classes(3), learning_rates=[3e-2], max_epochs=rounds), val)
        for rounds in range(1, best.rounds + 1, 3)
    ]
    assert top1(best, val) >= max(curve) - 1e-9
    assert curve == sorted(curve)  # more rounds never give a worse head on validation


def test_few_labels_make_rounds_of_many_steps_and_every_row_counts_once_per_epoch() -> None:
    options = {"batch_size": 512, "least_steps": 25}
    few = next(drawn_batches(np.arange(30)[None] + 5, [(0, 0)], **options))["row"]
    assert few.shape == (25, 1, 30)
    drawn = np.stack([np.arange(1300), np.arange(1300) + 7])
    many = next(drawn_batches(drawn, [(0, 0), (0, 1)], **options))["row"]
    assert many.shape == (27, 2, 434)  # nine epochs of three steps of up to 512
    for epoch in many.reshape(9, 3, 2, 434):
        for draw, first in enumerate((0, 7)):
            seen = epoch[:, draw].ravel()
            np.testing.assert_array_equal(np.sort(seen[seen >= 0]), np.arange(1300) + first)
    assert (many[0] != many[3]).any()


def test_numbers_are_predicted_in_their_units_as_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 6)).astype(np.float32)
    y = 20_000 + 3_000 * (x @ rng.normal(size=6)) + rng.normal(scale=500, size=900)
    head = one(Labelled(x[:300], y[:300]), Labelled(x[300:600], y[300:600]), PRICE)
    metrics = PRICE.metrics(head.outputs(x[600:]), y[600:])
    least = Ridge(1e-3).fit(x[:300], y[:300])
    assert metrics["mse"] < 1.05 * np.mean((least.predict(x[600:]) - y[600:]) ** 2)
    assert metrics["pearson"] > 0.9


def test_a_rate_at_which_heads_diverge_is_not_chosen() -> None:
    train, val = blobs(60, 0), blobs(60, 1)
    head = one(train, val, classes(3), learning_rates=[float("inf"), 1e-2], max_epochs=3)
    assert head.rate == 1e-2
    assert np.isfinite(head.params["kernel"]).all()


def test_standardising_uses_the_training_rows_alone() -> None:
    train, other = np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 6.0]])
    one, two = map(Standard.of(train).apply, (train, other))
    np.testing.assert_allclose(one, [[-1, 0], [1, 0]])
    np.testing.assert_allclose(two, [[3, 1]])
