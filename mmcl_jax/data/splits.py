"""Dividing rows into train, val and test."""

from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import train_test_split

from mmcl_jax.errors import UserError, check

SPLITS = ("train", "val", "test")
Splits = Mapping[str, np.ndarray]


def random_splits(rows: int, fractions: tuple[float, float, float], *, seed: int, label: np.ndarray | None) -> Splits:
    """Random row numbers per split, stratified by `label` if there is one; test is drawn first, then val.

    Args:
      rows: number of rows.
      fractions: of train, val and test; they must be positive and sum to 1.
      seed: of the draw.
      label: `[rows]` integer codes, or None.

    Returns:
      Sorted row numbers for each of `SPLITS`.

    Raises:
      UserError: the fractions are off, or a class has too few rows to be in every split.
    """
    check(
        all(f > 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6,
        f"--split takes three positive fractions that sum to 1, not {','.join(map(str, fractions))}.",
    )
    everything = np.arange(rows)
    val, test = (round(fraction * rows) for fraction in fractions[1:])
    try:
        rest, test_rows = train_test_split(everything, test_size=test, random_state=seed, stratify=label)
        train_rows, val_rows = train_test_split(
            rest, test_size=val, random_state=seed, stratify=None if label is None else label[rest]
        )
    except ValueError as error:
        raise UserError(f"The {rows} rows cannot be split: {error}") from error
    return dict(zip(SPLITS, map(np.sort, (train_rows, val_rows, test_rows)), strict=True))


def splits_from_column(values: np.ndarray, column: str) -> Splits:
    """Row numbers per split from a column that holds the words train, val and test.

    Raises:
      UserError: another word, an empty cell, or a split without rows.
    """
    for row, value in enumerate(values):
        check(value in SPLITS, f"Column {column!r}, row {row + 1}: {value!r} is not one of train, val, test.")
    splits = {name: np.flatnonzero(values == name) for name in SPLITS}
    for name, rows in splits.items():
        check(len(rows) > 0, f"Column {column!r} puts no row into the split {name!r}.")
    return splits
