"""Tabular models on embeddings and columns: histogram gradient boosting, and TabPFN where it is installed.

Models on the columns alone, with trials of drawn settings, are `rivals`.
"""

import dataclasses
import importlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.protocols.rivals import RIVALS
from mmcl_jax.evaluation.protocols.rivals.base import columns_with_values, metrics_of, outputs_of
from mmcl_jax.evaluation.sources.missingness import tables_of
from mmcl_jax.tasks import Task
from mmcl_jax.tasks.classes import Class
from mmcl_jax.tasks.number import Number
from mmcl_jax.tasks.ordinal import Ordinal

TABULAR = ("features", "tabpfn")  # the protocols of this file
RATES = (0.03, 0.1, 0.3)
TREES = 200
LEAF = 20  # rows of a leaf at least; a twentieth of the training rows below 400, where whole trees would be one leaf
MOST_CATEGORIES = 255  # that scikit-learn's boosting tells apart


# Settings that vary within a fitted model, with its outputs for rows.
_Staged = Callable[[np.ndarray], Iterator[tuple[dict[str, float], np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class TabularFeatures:
    """The features of the rows of the splits, and which of their columns hold categories.

    Attributes:
      by_split: per split, `[N, D]` float64; NaN is missing, a category is its code.
      categorical: whether a column holds categories, `[D]`.
    """

    by_split: dict[str, np.ndarray]
    categorical: np.ndarray

    def beside(self, other: "TabularFeatures") -> "TabularFeatures":
        """Return these columns and, behind them, those of `other`."""
        return TabularFeatures(
            {split: np.concatenate([self.by_split[split], other.by_split[split]], axis=1) for split in SPLITS},
            np.concatenate([self.categorical, other.categorical]),
        )

    @classmethod
    def of_embeddings(cls, parts: Sequence[Any]) -> "TabularFeatures":
        """Return the embeddings `[N, D]` of several modalities, per split, side by side; none holds categories."""
        joined = {split: np.concatenate([part[split] for part in parts], axis=1).astype(np.float64) for split in SPLITS}
        return cls(joined, np.zeros(joined["train"].shape[1], bool))

    @classmethod
    def of_columns(
        cls, store: Store, rows: Any, fold: int | None, reads: Mapping[str, Collection[str]] | None = None
    ) -> "TabularFeatures":
        """Return the columns of the store's input tables for `rows` of each split, as they are stored.

        Unknown categories are missing. A column with more than 255 categories, which the boosting cannot tell apart,
        enters as the number of its code. Of the tables in `reads`, only the columns that are named there are returned.
        """
        tables = tables_of(store)
        named = [(name, column) for name in tables for column in store.schema.entries[name].columns]
        columns = [column for _, column in named]
        read = np.array([column.name in (reads or {}).get(name, (column.name,)) for name, column in named])
        categorical = np.array([column.coded for column in columns])
        by_split = {}
        for split in SPLITS:
            entries = store.read(split, tables, fold=fold)
            values = np.concatenate([np.asarray(entries[name], np.float64)[rows[split]] for name in tables], axis=1)
            by_split[split] = np.where(categorical & (values < 0), np.nan, values)[:, read]
        few = np.array([not column.coded or len(column.categories) <= MOST_CATEGORIES for column in columns])
        return cls(by_split, (categorical & few)[read])


def check_tabular(protocol: str, task: Task, store: Store) -> None:
    """Raise `UserError` unless the task is one class, grade or number, with a table and the protocol's package."""
    check(
        bool(tables_of(store)),
        f"--protocol {protocol}: the store {store.directory} has no table; use --protocol probe.",
    )
    check(
        isinstance(task, Class | Ordinal | Number),
        f"--protocol {protocol}: {task.label!r} is a task of kind {task.name}; this protocol predicts one class, grade "
        "or number, so use --protocol probe.",
    )
    if protocol == "tabpfn":
        _tabpfn()
    if protocol in RIVALS:
        RIVALS[protocol].check_installed(protocol)


def tabular(
    features: TabularFeatures,
    targets: dict[str, np.ndarray],
    rows: np.ndarray,
    *,
    protocol: str,
    task: Task,
    seed: tuple[int, int],
) -> tuple[dict[str, float], dict[str, float], np.ndarray]:
    """Fit a tabular model to the drawn training rows and return its metrics, chosen settings and test outputs.

    Boosting is fitted once for each of three learning rates; the primary metric on validation chooses the rate and the
    number of trees, up to 200. A leaf has at least 20 rows, or a twentieth of the training rows if that is less. TabPFN
    has no settings to choose.

    Args:
      features: of all labelled rows of the splits.
      targets: of these rows, per split.
      rows: indices of the training rows `[n]` that were drawn.
      protocol: "features" for boosting, or "tabpfn".
      task: to predict.
      seed: of the run, and number of the draw.

    Returns:
      The metrics of `task` on test, with `rmse` (of a number), and "val_" + the primary metric on validation; the
      chosen settings; and the outputs `[M, outputs]` on test.
    """
    # A column without a value among the training rows says nothing, and the boosting cannot divide it into bins.
    known = columns_with_values(features.by_split["train"][rows], protocol)
    by_split = {split: values[:, known] for split, values in features.by_split.items()}
    train, labels = by_split["train"][rows], targets["train"][rows]
    random_state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    fits = _boosted if protocol == "features" else _prior_fitted
    best: tuple[float, dict[str, float], _Staged] | None = None
    for chosen, predict in fits(train, labels, features.categorical[known], task, random_state):
        for more, outputs in predict(by_split["val"]):
            value = task.metrics(outputs, targets["val"], shares=True)[task.primary]
            if best is None or task.better(value, best[0]):
                best = value, {**chosen, **more}, predict
    assert best is not None
    reached, settings, predict = best
    outputs = next(out for more, out in predict(by_split["test"]) if more.items() <= settings.items())
    metrics = metrics_of(task, outputs, targets["test"])
    return {**metrics, f"val_{task.primary}": reached}, settings, outputs


def _boosted(
    train: np.ndarray, labels: np.ndarray, categorical: np.ndarray, task: Task, random_state: int
) -> Iterator[tuple[dict[str, float], _Staged]]:
    model = HistGradientBoostingRegressor if isinstance(task, Number) else HistGradientBoostingClassifier
    for rate in RATES:
        fitted = model(
            learning_rate=rate,
            max_iter=TREES,
            min_samples_leaf=max(1, min(LEAF, len(train) // LEAF)),
            categorical_features=categorical if categorical.any() else None,
            early_stopping=False,
            random_state=random_state,
        ).fit(train, labels)

        def predict(rows: np.ndarray, fitted: Any = fitted) -> Iterator[tuple[dict[str, float], np.ndarray]]:
            staged = fitted.staged_predict if isinstance(task, Number) else fitted.staged_predict_proba
            for trees, predicted in enumerate(staged(rows), start=1):
                yield (
                    {"trees": float(trees)},
                    outputs_of(predicted, None if isinstance(task, Number) else fitted.classes_, task),
                )

        yield {"learning_rate": rate}, predict


def _prior_fitted(
    train: np.ndarray, labels: np.ndarray, categorical: np.ndarray, task: Task, random_state: int
) -> Iterator[tuple[dict[str, float], _Staged]]:
    package = _tabpfn()
    model = package.TabPFNRegressor if isinstance(task, Number) else package.TabPFNClassifier
    fitted = model(
        categorical_features_indices=np.flatnonzero(categorical).tolist(), random_state=random_state % 2**31
    ).fit(train, labels)

    def predict(rows: np.ndarray) -> Iterator[tuple[dict[str, float], np.ndarray]]:
        predicted = fitted.predict(rows) if isinstance(task, Number) else fitted.predict_proba(rows)
        yield {}, outputs_of(predicted, None if isinstance(task, Number) else fitted.classes_, task)

    yield {}, predict


def _tabpfn() -> Any:
    try:
        return importlib.import_module("tabpfn")
    except ImportError as error:
        raise UserError(
            "--protocol tabpfn: the package tabpfn is not installed; run `pip install tabpfn` (its weights are fetched "
            "on first use), or use --protocol features."
        ) from error
