"""Draws of labels."""

import numpy as np
import pytest

from mmcl_jax.evaluation.sources.budgets import Budget

pytestmark = pytest.mark.core

LABELS = np.array([0] * 50 + [1] * 30 + [2] * 3)


def test_so_many_of_every_class() -> None:
    rows = Budget(per_class=3).draw(LABELS, (0, 0))
    np.testing.assert_array_equal(np.bincount(LABELS[rows]), [3, 3, 3])
    assert (np.diff(rows) > 0).all()


def test_fractions_keep_at_least_one_of_every_class() -> None:
    np.testing.assert_array_equal(np.bincount(LABELS[Budget(fraction=0.1).draw(LABELS, (0, 0))]), [5, 3, 1])


def test_draws_of_one_seed_are_nested_and_of_two_differ() -> None:
    small, large = (set(Budget(fraction=f).draw(LABELS, (0, 1))) for f in (0.1, 0.5))
    assert small < large
    assert set(Budget(fraction=0.1).draw(LABELS, (0, 2))) != small


def test_all_is_all() -> None:
    np.testing.assert_array_equal(Budget().draw(LABELS, (0, 0)), np.arange(83))
    assert [str(b) for b in (Budget(), Budget(fraction=0.01), Budget(per_class=5))] == ["all", "1 %", "5 per class"]


def test_a_class_with_fewer_labels_gives_all_of_them() -> None:
    rows = Budget(per_class=4).draw(LABELS, (0, 0))
    np.testing.assert_array_equal(np.bincount(LABELS[rows]), [4, 4, 3])


def test_numbers_have_no_classes_and_keep_two_rows() -> None:
    prices = np.random.default_rng(0).normal(size=200)
    small, large = (Budget(fraction=f).draw(prices, (0, 1), stratified=False) for f in (0.1, 0.5))
    assert (len(small), len(large)) == (20, 100)
    assert set(small) < set(large)
    assert len(Budget(fraction=0.001).draw(prices, (0, 1), stratified=False)) == 2
