"""Folds that share one hold-out: the split test is that of every fold."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.data.format.lists import Lists, check_lists


def lists(*folds: list[int], test: tuple[int, ...] = (6, 7)) -> Lists:
    splits = {"train": np.array([2, 3, 4, 5]), "val": np.array([0, 1]), "test": np.array(test)}
    return Lists(id=np.arange(8), group=None, splits=splits, subsets={}, folds=[np.array(rows) for rows in folds])


def test_the_folds_take_turns_as_val_and_test_stays(tmp_path: Path) -> None:
    held = lists([0, 1], [2, 3], [4, 5])
    held.write(tmp_path)
    read = Lists.read(tmp_path / "rows.npz")
    assert read.held_out
    for fold, rows in enumerate(([0, 1], [2, 3], [4, 5])):
        assert read.rows_of("val", fold, tmp_path).tolist() == rows
        assert read.rows_of("test", fold, tmp_path).tolist() == [6, 7]
        assert read.rows_of("train", fold, tmp_path).tolist() == sorted({0, 1, 2, 3, 4, 5} - set(rows))
    every = lists([0, 1], [2, 3, 4, 5], [6, 7])
    assert not every.held_out
    assert every.rows_of("test", 0, tmp_path).tolist() == [0, 1]


@pytest.mark.parametrize("folds", [([0, 1], [2, 3]), ([0, 1], [2, 3], [4, 6]), ([0, 1], [1, 2, 3], [4, 5])])
def test_folds_that_lack_other_rows_are_damaged(folds: tuple[list[int], ...]) -> None:
    with pytest.raises(ValueError, match="in one fold"):
        check_lists(lists(*folds), 8)
