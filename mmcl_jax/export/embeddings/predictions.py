"""The columns of a kept head's predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, softmax

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.tasks import Class, MultiLabel, Number, Numbers, Ordinal

PREDICTION, PROBABILITIES = "prediction", "probabilities"
Columns = dict[str, pl.Series]


def prediction_columns(head: KeptHead) -> Callable[[np.ndarray], Columns]:
    """Return a function from the outputs `[n, outputs]` of a head to its columns.

    A class has `prediction`, its name, and `probabilities` of all classes; a grade has its name, and the probabilities
    of lying above each grade but the last (of `ordinal_logits`, whose grade may be -1 and then has no name, also of
    lying above -1); several yes-or-no labels have the names of those above a half, and the
    probability of each. A number has `prediction` in units of the label, float64, and several numbers have a list.

    Raises:
      UserError: the head predicts something else, such as a mask.
    """
    task = head.trained.task
    names = np.array(head.labels.get(task.label, ()), dtype=object)
    if isinstance(task, Class):
        return lambda outputs: _named(names[outputs.argmax(axis=1)], softmax(outputs, axis=1))
    if isinstance(task, Ordinal):
        named = np.array([*names, None], dtype=object)  # the last is the name of -1
        return lambda outputs: _named(named[task.grades(outputs)], expit(outputs))
    if isinstance(task, MultiLabel):
        labels = np.array(task.names, dtype=object)
        return lambda outputs: _several(labels, outputs)
    if isinstance(task, Number):
        return lambda outputs: {PREDICTION: pl.Series(outputs[:, 0].astype(np.float64))}
    if isinstance(task, Numbers):
        return lambda outputs: {PREDICTION: array_column(outputs, np.float64)}
    raise UserError(f"--head: a head of the task {task.name!r} predicts nothing that fits into a row.")


def class_names(head: KeptHead) -> list[str]:
    """Return the names of the classes, labels or numbers that a head predicts, in the order of its lists."""
    task = head.trained.task
    several = isinstance(task, MultiLabel | Numbers)
    return list(task.names if several else head.labels.get(task.label, ()))  # type: ignore[attr-defined]


def array_column(values: np.ndarray, dtype: type[np.floating] = np.float32) -> pl.Series:
    """Return `[n, D]` as a column of lists of fixed size."""
    kinds: dict[type[np.floating], Any] = {np.float64: pl.Float64, np.float32: pl.Float32, np.float16: pl.Float16}
    return pl.Series(np.ascontiguousarray(values, dtype), dtype=pl.Array(kinds[dtype], values.shape[1]))


def _named(names: np.ndarray, probabilities: np.ndarray) -> Columns:
    return {PREDICTION: pl.Series(names.tolist(), dtype=pl.String), PROBABILITIES: array_column(probabilities)}


def _several(names: np.ndarray, outputs: np.ndarray) -> Columns:
    texts = [names[row].tolist() for row in outputs > 0]
    return {PREDICTION: pl.Series(texts, dtype=pl.List(pl.String)), PROBABILITIES: array_column(expit(outputs))}
