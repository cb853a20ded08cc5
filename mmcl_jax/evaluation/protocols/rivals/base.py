"""What every rival is: a space of settings, and a fit of the columns with one of them."""

import abc
import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from mmcl_jax.errors import UserError, check
from mmcl_jax.tasks import Number, Task

Settings = Mapping[str, float]
SMALL = 500_000  # cells
MOST_CATEGORIES = 100  # one-hot columns of a category; its rarer categories share a column


@dataclasses.dataclass(frozen=True, kw_only=True)
class RivalData:
    """The rows that a rival is fitted to, and those that choose its settings.

    Attributes:
      task: to predict: a class, a grade or a number.
      train: the columns `[n, F]` float64; NaN is missing, a category is its code.
      labels: of these rows `[n]`.
      val: the columns `[m, F]` of the validation rows.
      val_labels: of these `[m]`.
      categorical: whether a column holds categories `[F]`.
      seed: of the fit.
    """

    task: Task
    train: np.ndarray
    labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray
    categorical: np.ndarray
    seed: int

    @property
    def number(self) -> bool:
        """Whether the label is a number."""
        return isinstance(self.task, Number)

    @property
    def threads(self) -> int:
        """The threads of a fit: 1 for small tables, which are not faster with several, and slower on a busy machine."""
        return 1 if self.train.size < SMALL else os.cpu_count() or 1

    @functools.cached_property
    def watched(self) -> tuple[np.ndarray, np.ndarray]:
        """The validation rows with a label that the training rows have, for libraries that stop early by them."""
        seen = np.ones(len(self.val), bool) if self.number else np.isin(self.val_labels, self.labels)
        return self.val[seen], self.val_labels[seen]

    def value(self, outputs: np.ndarray) -> float:
        """Return the primary metric of outputs `[m, outputs]` on validation."""
        return self.task.metrics(outputs, self.val_labels, shares=True)[self.task.primary]

    def outputs(self, model: Any, rows: np.ndarray) -> np.ndarray:
        """Return the task's outputs of a fitted model with scikit-learn's methods."""
        if self.number:
            return outputs_of(model.predict(rows), None, self.task)
        return outputs_of(model.predict_proba(rows), model.classes_, self.task)


@dataclasses.dataclass(frozen=True)
class FittedRival:
    """A fitted rival.

    Attributes:
      outputs: returns the outputs of the task `[M, outputs]` of rows `[M, F]`.
      size: the number of "parameters", or of "leaves" of trees.
      chosen: what validation chose within the fit, such as a number of trees.
    """

    outputs: Callable[[np.ndarray], np.ndarray]
    size: dict[str, float]
    chosen: dict[str, float] = dataclasses.field(default_factory=dict)


class Rival(abc.ABC):
    """A kind of model.

    Attributes:
      package: that it needs beside the required ones; empty for none.
      words: its name in tables.
    """

    package: ClassVar[str] = ""
    words: ClassVar[str]

    @abc.abstractmethod
    def draw(self, random: np.random.Generator) -> Settings:
        """Return settings that are drawn from the space of the rival; the first trial has `{}`, the defaults."""

    @abc.abstractmethod
    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the model that is fitted with these settings; validation may choose when the fit ends."""

    def check_installed(self, protocol: str) -> None:
        """Raise `UserError` unless the package of the rival is installed."""
        try:
            if self.package:
                importlib.import_module(self.package)
        except ImportError as error:
            raise UserError(
                f"--protocol {protocol}: the package {self.package} is not installed; run "
                '`pip install "mmcl_jax[rivals]"`, or use --protocol boosting.'
            ) from error


def outputs_of(predicted: np.ndarray, present: np.ndarray | None, task: Task) -> np.ndarray:
    """Return the outputs of the task `[M, outputs]`: shares of all its classes, or the numbers.

    Args:
      predicted: shares `[M, C]` of the classes that are `present`, or numbers `[M]`.
      present: the codes `[C]` of these classes; None for numbers.
      task: that is predicted.
    """
    if present is None:
        return np.asarray(predicted, np.float64).reshape(-1, 1)
    codes = np.broadcast_to(np.asarray(present).astype(np.int64), predicted.shape)
    return task.vote(np.asarray(predicted, np.float64), codes)


def columns_with_values(train: np.ndarray, protocol: str) -> np.ndarray:
    """Return the mask `[F]` of the columns in which one of the drawn training rows `[n, F]` has a value.

    Raises:
      UserError: there is none.
    """
    known = ~np.isnan(train).all(axis=0)
    check(
        bool(known.any()), f"--protocol {protocol}: no column of the table has a value in the {len(train)} rows drawn."
    )
    return known


def metrics_of(task: Task, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the metrics of the task on outputs that are shares or numbers; of a number, also `rmse`."""
    metrics = task.metrics(outputs, targets, shares=True)
    return {**metrics, "rmse": metrics["mse"] ** 0.5} if isinstance(task, Number) else metrics


def one_hot(categorical: np.ndarray, numbers: TransformerMixin | str) -> ColumnTransformer:
    """Return the transformation of the columns: categories, also the missing one, become 0 or 1; `numbers` the rest."""
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, sparse_output=False)
    return ColumnTransformer(
        [("numbers", numbers, np.flatnonzero(~categorical)), ("categories", encoder, np.flatnonzero(categorical))]
    )


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is drawn uniformly."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def log_integer(random: np.random.Generator, low: int, high: int) -> int:
    """Return an integer whose logarithm is drawn uniformly; both ends are possible."""
    return int(log_uniform(random, low, high + 1))
