"""Weighted nearest neighbours on frozen features, without training."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.sources.features import unit_rows
from mmcl_jax.tasks import Task

NEIGHBOURS = (1, 5, 20, 50)
TEMPERATURE = 0.07
_CHUNK = 2**24  # similarities held at a time (64 MiB)
_MARGIN = 8  # further candidates that are ordered in float64


def nearest(bank: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` most similar rows of the bank for every query by cosine, most similar first.

    Ties go to the earlier row. The matrix of all pairs is computed in float32, in chunks of queries. The last bits of
    such products depend on the size of the chunk, so the cosines of the nearest rows and of a few more are computed
    again in float64, pair by pair, and decide the order.

    Args:
      bank: `[N, D]`.
      queries: `[M, D]`.
      count: at most `N`.

    Returns:
      Cosines `[M, count]` float64, and rows of the bank `[M, count]`.

    Raises:
      ValueError: the bank has fewer rows than `count`.
    """
    if count > len(bank):
        raise ValueError(f"count {count} is larger than the bank of {len(bank)} rows")
    rows = min(len(queries), max(1, _CHUNK // len(bank)))
    unit = jnp.asarray(unit_rows(bank))
    candidates = min(count + _MARGIN, len(bank))
    parts = []
    for start in range(0, len(queries), rows):
        chunk = unit_rows(queries[start : start + rows])
        padded = np.pad(chunk, ((0, rows - len(chunk)), (0, 0)))  # one shape, so one compilation
        _, indices = _top(unit, padded, count=candidates)
        parts.append(np.asarray(indices)[: len(chunk)])
    return _ordered(np.asarray(bank, np.float64), np.asarray(queries, np.float64), np.concatenate(parts), count)


def _ordered(bank: np.ndarray, queries: np.ndarray, indices: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines, in float64, and the indices of the first `count` of the candidates `indices` `[M, K]`."""
    bank, queries = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (bank, queries))
    indices = np.sort(indices, axis=1)  # so that a stable order gives ties to the first row
    cosines = np.empty(indices.shape)
    rows = max(1, _CHUNK // (indices.shape[1] * bank.shape[1]))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        cosines[part] = np.einsum("md,mkd->mk", queries[part], bank[indices[part]])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(indices, order, axis=1)


def knn_outputs(
    cosines: np.ndarray, targets: np.ndarray, *, task: Task, temperature: float = TEMPERATURE
) -> np.ndarray:
    """Return the votes of the neighbours, each with the weight `exp(cosine / temperature)`: `[M, outputs]`.

    `Task.vote` turns them into shares of the classes, or the weighted mean of the labels. This is the classifier of Wu
    et al. (CVPR 2018), section 3.4, which DINO uses too.

    Args:
      cosines: `[M, k]`.
      targets: `[M, k]` class codes or labels of the neighbours (`[M, k, K]` of several).
      task: to predict.
      temperature: with smaller ones, nearer neighbours count more.
    """
    cosines = np.asarray(cosines, np.float64)
    weights = np.exp((cosines - cosines[:, :1]) / temperature)  # relative to the nearest
    return task.vote(weights, targets)


def knn(
    bank: np.ndarray,
    labels: np.ndarray,
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    task: Task,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of nearest neighbours, whose number is chosen on validation by the primary metric.

    Numbers above the size of the bank are skipped. Ties go to the smaller number. With several labels, a label that no
    neighbour of a row has is predicted as its mean over the bank.

    Args:
      bank: features `[N, D]` of the labelled training rows.
      labels: their targets `[N]`, or `[N, K]` with NaN for missing.
      val: features and targets of the validation split.
      test: features and targets of the test split.
      task: to predict.
      neighbours: numbers of neighbours to choose from.
      temperature: of the weights of the votes.

    Returns:
      The metrics on test, with "val_" + the primary metric on validation; and `{"neighbours": k}`.

    Raises:
      ValueError: the bank is smaller than every number.
    """
    tried = sorted(k for k in neighbours if k <= len(bank))
    if not tried:
        raise ValueError(f"{len(bank)} labelled rows are fewer than {min(neighbours)} neighbours")
    cosines, rows = nearest(bank, val[0], tried[-1])

    def measure(cosines: np.ndarray, rows: np.ndarray, targets: np.ndarray, k: int) -> dict[str, float]:
        outputs = knn_outputs(cosines[:, :k], labels[rows[:, :k]], task=task, temperature=temperature)
        if labels.ndim == 2:
            outputs = np.where(np.isnan(outputs), np.nanmean(labels, axis=0), outputs)
        return task.metrics(outputs, targets, shares=True)

    best, reached = tried[0], float("nan")
    for k in tried:
        value = measure(cosines, rows, val[1], k)[task.primary]
        if task.better(value, reached):
            best, reached = k, value
    cosines, rows = nearest(bank, test[0], best)
    return {**measure(cosines, rows, test[1], best), f"val_{task.primary}": reached}, {"neighbours": float(best)}


@partial(jax.jit, static_argnames="count")
def _top(bank: jax.Array, queries: jax.Array, *, count: int) -> tuple[jax.Array, jax.Array]:
    return jax.lax.top_k(jnp.matmul(queries, bank.T, precision="highest"), count)
