"""The splits of MulTaBench: two repeats of three folds, as the package `multabench` 0.1.1 draws them."""

import numpy as np
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, train_test_split

FOLDS, REPEATS = 3, 2
SPLITS = FOLDS * REPEATS
SIZES = ("10k", "full")
SEED = 42
_MOST = {"train": 10_000, "test": 5_000}  # rows in the size "10k"
_VALIDATION = 0.1  # of the training rows


def draw_splits(targets: np.ndarray, split: int, *, classes: bool, size: str) -> dict[str, np.ndarray]:
    """Return the rows of "train", "val" and "test", sorted.

    Split k tests on fold k % 3 of repeat k // 3. The folds are stratified if every class has three rows. In the size
    "10k", the training part is then reduced to 10,000 rows and the test part to 5,000, with the shares of the classes.
    The benchmark leaves validation to the models; here it is a tenth of the training part, and at most 1,000 rows.

    Args:
      targets: the target of every row, without missing values.
      split: 0 to 5.
      classes: whether the target is a class.
      size: "10k" or "full".
    """
    stratified = classes and _rarest(targets) >= FOLDS
    repeated = (RepeatedStratifiedKFold if stratified else RepeatedKFold)(
        n_splits=FOLDS, n_repeats=REPEATS, random_state=SEED
    )
    parts = dict(zip(("train", "test"), list(repeated.split(np.zeros(len(targets)), targets))[split], strict=True))
    if size == "10k":
        parts = {name: _part(rows, targets, _MOST[name], SEED + split, classes)[0] for name, rows in parts.items()}
    most = min(1_000, max(1, round(_VALIDATION * len(parts["train"]))))
    val, train = _part(np.sort(parts["train"]), targets, most, SEED + split, classes)
    return {"train": np.sort(train), "val": np.sort(val), "test": np.sort(parts["test"])}


def _part(rows: np.ndarray, targets: np.ndarray, size: int, seed: int, classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return `size` of the rows, with the shares of the classes where that is possible, and the others."""
    if len(rows) <= size:
        return rows, rows[:0]
    counts = np.unique(targets[rows], return_counts=True)[1]
    stratified = classes and counts.min() >= 2 and len(counts) <= min(size, len(rows) - size)
    chosen, others = train_test_split(
        rows, train_size=size, random_state=seed, stratify=targets[rows] if stratified else None
    )
    return chosen, others


def _rarest(targets: np.ndarray) -> int:
    return int(np.unique(targets, return_counts=True)[1].min())
