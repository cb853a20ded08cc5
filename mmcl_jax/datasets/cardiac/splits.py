"""Splits and subsets of a data set with a rare positive class."""

import math
from typing import Literal

import numpy as np
from sklearn.model_selection import train_test_split

from mmcl_jax.errors import UserError, check

CardiacSplit = Literal["paper", "notebook"]


def split(positive: np.ndarray, scheme: CardiacSplit, seed: int) -> dict[str, np.ndarray]:
    """Return the sorted rows of "train", "val" and "test", stratified.

    Args:
      positive: `[N]` bool.
      scheme: "paper" takes 10 % for the test and 20 % of the rest for validation; "notebook" 15 % and 15 % of all.
      seed: seed of the random choice.

    Raises:
      UserError: a class has too few rows to be in every split.
    """
    check(scheme in ("paper", "notebook"), f"--dataset.split_as must be paper or notebook, not {scheme!r}.")
    rows = np.arange(len(positive))
    test = math.ceil((0.10 if scheme == "paper" else 0.15) * len(rows))
    val = math.ceil(0.20 * (len(rows) - test) if scheme == "paper" else 0.15 * len(rows))
    try:
        rest, tested = train_test_split(rows, test_size=test, stratify=positive, random_state=seed)
        trained, validated = train_test_split(rest, test_size=val, stratify=positive[rest], random_state=seed)
    except ValueError as error:
        few = f"{int(positive.sum())} positive of {len(rows)} subjects"
        raise UserError(f"With {few}, stratified splits cannot be made: {error}") from error
    return {"train": np.sort(trained), "val": np.sort(validated), "test": np.sort(tested)}


def subsets(positive: np.ndarray, splits: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return the sorted rows of the subsets for fine-tuning.

    "train_balanced" has all positives of train and as many negatives; "val_balanced" has those of val.
    "train_balanced_10" and "train_balanced_1" are 10 % and 1 % of "train_balanced", the smaller within the larger.
    "train_10" and "train_1" are 10 % and 1 % of train, with its share of positives. Each has a row of either class.
    """
    train, val = (_shuffled(positive, splits[name], seed) for name in ("train", "val"))
    classes_of = {"train_balanced": _balanced(train), "val_balanced": _balanced(val)}
    classes_of |= {f"train_balanced_{part}": _part(classes_of["train_balanced"], part) for part in (10, 1)}
    classes_of |= {f"train_{part}": _part(train, part) for part in (10, 1)}
    return {name: np.sort(np.concatenate(classes)) for name, classes in classes_of.items()}


def _shuffled(positive: np.ndarray, rows: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the rows of the positives and of the negatives, in a random order whose beginnings are the subsets."""
    random = np.random.default_rng(seed)
    return [random.permutation(rows[positive[rows] == is_positive]) for is_positive in (True, False)]


def _balanced(classes: list[np.ndarray]) -> list[np.ndarray]:
    return [rows[: min(map(len, classes))] for rows in classes]


def _part(classes: list[np.ndarray], percent: int) -> list[np.ndarray]:
    return [rows[: max(1, round(percent / 100 * len(rows)))] for rows in classes]
