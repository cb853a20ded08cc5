"""Splits and subsets of a data set with a rare positive class."""

import math
from typing import Literal

import numpy as np
from sklearn.model_selection import train_test_split

from mmcl_jax.errors import UserError, check

CardiacSplit = Literal["paper", "notebook"]


def split(positive: np.ndarray, how: CardiacSplit, seed: int) -> dict[str, np.ndarray]:
    """Return the row numbers of "train", "val" and "test", stratified.

    Args:
      positive: `[N]` bool.
      how: "paper" takes 10 % for the test and 20 % of the rest for validation; "notebook" 15 % and 15 %.
      seed: of the random choice.

    Raises:
      UserError: there are too few of a class to have them in every split.
    """
    check(how in ("paper", "notebook"), f"The split must be paper or notebook, not {how!r}.")
    rows = np.arange(len(positive))
    test = math.ceil((0.10 if how == "paper" else 0.15) * len(rows))
    val = math.ceil(0.20 * (len(rows) - test) if how == "paper" else 0.15 * len(rows))
    try:
        rest, tested = train_test_split(rows, test_size=test, stratify=positive, random_state=seed)
        trained, validated = train_test_split(rest, test_size=val, stratify=positive[rest], random_state=seed)
    except ValueError as error:
        few = f"{int(positive.sum())} positive of {len(rows)} subjects"
        raise UserError(f"With {few}, stratified splits cannot be made: {error}") from error
    return {"train": np.sort(trained), "val": np.sort(validated), "test": np.sort(tested)}


def subsets(positive: np.ndarray, splits: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return the row numbers of the subsets for fine-tuning.

    "train_balanced" has all positives of train and as many negatives, drawn once; "val_balanced" the same of val.
    "train_balanced_10" and "train_balanced_1" are 10 % and 1 % of it, the smaller within the larger, and "train_10" and
    "train_1" of train with its own share of positives; each has one of each class at least.
    """
    train, val = (_shuffled(positive, splits[name], seed) for name in ("train", "val"))
    made = {"train_balanced": _balanced(train), "val_balanced": _balanced(val)}
    made |= {f"train_balanced_{part}": _part(made["train_balanced"], part) for part in (10, 1)}
    made |= {f"train_{part}": _part(train, part) for part in (10, 1)}
    return {name: np.sort(np.concatenate(classes)) for name, classes in made.items()}


def _shuffled(positive: np.ndarray, rows: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the rows of either class, in one random order; every subset is the beginning of it."""
    random = np.random.default_rng(seed)
    return [random.permutation(rows[positive[rows] == wanted]) for wanted in (True, False)]


def _balanced(classes: list[np.ndarray]) -> list[np.ndarray]:
    return [rows[: min(map(len, classes))] for rows in classes]


def _part(classes: list[np.ndarray], percent: int) -> list[np.ndarray]:
    return [rows[: max(1, round(percent / 100 * len(rows)))] for rows in classes]
