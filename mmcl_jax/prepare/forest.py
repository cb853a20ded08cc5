"""The baseline that a model must beat: a random forest on the table alone."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import r2_score, roc_auc_score

from mmcl_jax.data.schema import Column

TRAIN_ROWS = 10_000  # with more rows, the forest of hundreds of classes does not fit into memory
TEST_ROWS = 20_000


def forest_score(
    table: np.ndarray,
    target: np.ndarray,
    label: Column,
    names: Sequence[str],
    *,
    train: np.ndarray,
    test: np.ndarray,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Fit and score scikit-learn's default random forest (100 trees) on raw rows, whose missing values stay missing.

    Args:
      table: raw rows `[N, F]`.
      target: `[N]`, raw values of the label, NaN for missing.
      label: the label's column.
      names: of the table's columns.
      train: row numbers to fit to; at most `TRAIN_ROWS`, drawn by `seed`, are used.
      test: row numbers to score; at most `TEST_ROWS`.
      seed: of the draws and the trees.

    Returns:
      `metric` ("top-1" and `balanced_accuracy`, "AUROC" for two classes, "R2" for numbers), its `value`, the value of
      guessing (`chance`), `train_rows`, `test_rows`, and the `importance` of the most important columns as (name,
      share). None if there is nothing to fit or score: a single class, or no rows.
    """
    rng = np.random.default_rng(seed)
    fit = rng.permutation(train[~np.isnan(target[train])])[:TRAIN_ROWS]
    held_out = rng.permutation(test[~np.isnan(target[test])])[:TEST_ROWS]
    if len(np.unique(target[fit])) < 2 or len(held_out) < (1 if label.coded else 2):
        return None
    forest = fitted_forest(table[fit], target[fit], label, seed=seed)
    truth, guesses = target[held_out], forest.predict(_finite(table[held_out]))
    result: dict[str, Any] = {"train_rows": len(fit), "test_rows": len(held_out)}
    if not label.coded:
        result.update(metric="R2", value=float(r2_score(truth, guesses)), chance=0.0)
    elif len(forest.classes_) == 2 and len(np.unique(truth)) == 2:
        scores = forest.predict_proba(_finite(table[held_out]))[:, 1]
        result.update(metric="AUROC", value=float(roc_auc_score(truth == forest.classes_[1], scores)), chance=0.5)
    else:
        commonest = np.unique(target[fit])[np.unique(target[fit], return_counts=True)[1].argmax()]
        result.update(metric="top-1", value=float((truth == guesses).mean()), chance=float((truth == commonest).mean()))
        recalls = [(guesses[truth == code] == code).mean() for code in np.unique(truth) if code in forest.classes_]
        result["balanced_accuracy"] = float(np.mean(recalls)) if recalls else 0.0
    order = np.argsort(-forest.feature_importances_)[:20]
    result["importance"] = [(names[index], round(float(forest.feature_importances_[index]), 4)) for index in order]
    return result


def fitted_forest(
    table: np.ndarray, target: np.ndarray, label: Column, *, seed: int = 0
) -> RandomForestClassifier | RandomForestRegressor:
    """Return a forest fitted to raw rows `[N, F]` and the values of a label `[N]`, none of them missing.

    At most `TRAIN_ROWS` rows, drawn by `seed`, are used.
    """
    kind = RandomForestClassifier if label.coded else RandomForestRegressor
    rows = np.arange(len(table))
    if len(rows) > TRAIN_ROWS:
        rows = np.random.default_rng(seed).permutation(rows)[:TRAIN_ROWS]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of unique classes")  # the card says how few rows each has
        forest = kind(random_state=seed, n_jobs=-1).fit(_finite(table[rows]), target[rows])
    forest.n_jobs = 1  # several threads would add votes in any order, and a store must have the same bits every time
    return forest


def _finite(table: np.ndarray) -> np.ndarray:
    """Clip the values to the range of float32, which the trees use."""
    limit = np.finfo(np.float32).max
    return np.clip(table, -limit, limit)
