"""Dividing rows into folds of equal size, for cross-validation."""

import warnings

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from mmcl_jax.errors import check


def draw_folds(
    rows: int, count: int, *, seed: int, label: np.ndarray | None = None, group: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the sorted rows of each fold, stratified by `label` and never dividing a `group`; [] for no folds.

    Every row is in one fold. Classes with fewer rows than there are folds, and rows without a class, are drawn
    together, as one class.

    Args:
      rows: number of rows.
      count: number of folds; 0 for none.
      seed: of the draw.
      label: `[rows]` integer codes of a class label, below 0 for none; or None.
      group: `[rows]` integer codes, or None.

    Raises:
      UserError: there are fewer rows, or groups, than folds.
    """
    if count == 0:
        return []
    units = rows if group is None else len(np.unique(group))
    what = "rows" if group is None else "groups"
    check(units >= count, f"--folds: {units} {what} cannot be divided into {count} folds; ask for {units} or fewer.")
    strata = None if label is None else _strata(label, count)
    if strata is not None:
        shuffled = (StratifiedKFold if group is None else StratifiedGroupKFold)(count, shuffle=True, random_state=seed)
    elif group is None:
        shuffled = KFold(count, shuffle=True, random_state=seed)
    else:
        shuffled = GroupKFold(count)
        group = np.random.default_rng(seed).permutation(group.max() + 1)[group]  # breaks ties between groups at random
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the merged rare classes may have few rows
        return [np.sort(test) for _, test in shuffled.split(np.zeros(rows), strata, group)]


def _strata(label: np.ndarray, count: int) -> np.ndarray | None:
    """Return the label with -1 for no class and for classes of fewer than `count` rows; None if one class is left."""
    codes, members, sizes = np.unique(label, return_inverse=True, return_counts=True)
    rare = (sizes < count) | (codes < 0)
    strata = np.where(rare[members], -1, label)
    return strata if len(np.unique(strata)) > 1 else None
