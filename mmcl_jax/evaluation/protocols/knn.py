"""Weighted nearest neighbours on frozen features: nothing is trained."""

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
_MARGIN = 8  # candidates beyond those asked for, whose order is decided in float64


def nearest(bank: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` most similar rows of the bank for every query, by cosine, most similar first.

    Ties go to the row that comes first. The matrix of all pairs is walked in chunks of queries, in float32. The last
    bits of such products depend on their sizes, so the cosines of the nearest rows, and of a few more, are computed
    again in float64, each by itself: those decide, and do not depend on the chunks.

    Args:
      bank: `[N, D]`.
      queries: `[M, D]`.
      count: at most `N`.

    Returns:
      Cosines `[M, count]` float64, and rows of the bank `[M, count]`.

    Raises:
      ValueError: the bank has fewer rows than that.
    """
    if count > len(bank):
        raise ValueError(f"{count} neighbours of {len(bank)} rows were asked for")
    rows = min(len(queries), max(1, _CHUNK // len(bank)))
    unit = jnp.asarray(unit_rows(bank))
    more = min(count + _MARGIN, len(bank))
    parts = []
    for start in range(0, len(queries), rows):
        chunk = unit_rows(queries[start : start + rows])
        padded = np.pad(chunk, ((0, rows - len(chunk)), (0, 0)))  # one shape, so one compilation
        _, places = _top(unit, padded, count=more)
        parts.append(np.asarray(places)[: len(chunk)])
    return _ordered(np.asarray(bank, np.float64), np.asarray(queries, np.float64), np.concatenate(parts), count)


def _ordered(bank: np.ndarray, queries: np.ndarray, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines in float64 and the rows of the first `count` of the candidates `places` `[M, K]`."""
    bank, queries = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (bank, queries))
    places = np.sort(places, axis=1)  # so that a stable order gives ties to the first row
    cosines = np.empty(places.shape)
    rows = max(1, _CHUNK // (places.shape[1] * bank.shape[1]))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        cosines[part] = np.einsum("md,mkd->mk", queries[part], bank[places[part]])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(places, order, axis=1)


def knn_outputs(
    cosines: np.ndarray, targets: np.ndarray, *, task: Task, temperature: float = TEMPERATURE
) -> np.ndarray:
    """Return the votes of the neighbours, each with the weight `exp(cosine / temperature)`: `[M, outputs]`.

    The shares of the classes in the votes, or the weighted mean of the labels, as `Task.vote` has them. This is the
    classifier of Wu et al. (CVPR 2018), section 3.4, also used by DINO.

    Args:
      cosines: `[M, k]`.
      targets: `[M, k]` class codes or labels of the neighbours (`[M, k, K]` of several).
      task: what is predicted.
      temperature: smaller is nearer to the single nearest neighbour.
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
    """Predict by neighbours, their number chosen on validation by the primary metric.

    Numbers above the size of the bank are not tried: a small budget of labels has so many neighbours only. Ties go to
    the smaller number. Of several labels together, one that no neighbour of a row has is the mean over the bank.

    Args:
      bank: features `[N, D]` of the labelled training rows.
      labels: `[N]` their targets, or `[N, K]` with NaN for missing.
      val: features and targets of the validation split.
      test: the same of the test split.
      task: what is predicted.
      neighbours: numbers to choose from.
      temperature: of the weights.

    Returns:
      Metrics on test, with "val_" + the primary one on validation; and `{"neighbours": k}`.

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
