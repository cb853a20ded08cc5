"""Retrieval, against a float64 reference that holds all pairs."""

import numpy as np
import pytest

from mmcl_jax.evaluation.protocols import retrieval as module
from mmcl_jax.evaluation.protocols.retrieval import ranks, retrieval

pytestmark = pytest.mark.core


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("chunk", [2**24, 300])
def test_as_the_reference(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(101, 8)).astype(np.float32)
    table = (image + 1.5 * rng.normal(size=(101, 8))).astype(np.float32)
    cosines = unit(image.astype(np.float64)) @ unit(table.astype(np.float64)).T
    there = np.array([(cosines[i] >= cosines[i, i]).sum() for i in range(101)])
    back = np.array([(cosines[:, i] >= cosines[i, i]).sum() for i in range(101)])
    np.testing.assert_array_equal(ranks(image, table), there)
    metrics = retrieval(image, table, names=("image", "table"))
    for direction, found in (("image_to_table", there), ("table_to_image", back)):
        for k in (1, 5, 10):
            assert metrics[f"{direction}_recall@{k}"] == pytest.approx((found <= k).mean())
        assert metrics[f"{direction}_median_rank"] == np.median(found)
    assert 0 < metrics["image_to_table_recall@1"] < metrics["image_to_table_recall@10"] < 1
    assert metrics["chance_recall@5"] == pytest.approx(5 / 101)
    assert metrics["chance_median_rank"] == 51


def test_scale_does_not_count_and_the_same_projections_find_each_other() -> None:
    rows = np.random.default_rng(1).normal(size=(40, 5))
    assert (ranks(rows, 7 * rows) == 1).all()


def test_collapsed_projections_find_nothing() -> None:
    assert (ranks(np.ones((12, 3)), np.ones((12, 3))) == 12).all()
    twins = np.repeat(np.random.default_rng(2).normal(size=(6, 4)), 2, axis=0)  # every row is there twice
    assert (ranks(twins, twins) == 2).all()


def test_what_is_not_a_number_comes_last() -> None:
    rows = np.random.default_rng(3).normal(size=(5, 3))
    rows[0] = np.nan
    assert ranks(rows, np.random.default_rng(3).normal(size=(5, 3)))[0] == 5


def test_recall_beyond_the_candidates_is_certain() -> None:
    assert retrieval(np.eye(3), np.eye(3), names=("image", "table"))["chance_recall@5"] == 1
