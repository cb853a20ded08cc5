"""Weighted nearest neighbours on frozen features: nothing is trained."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mmcl_jax.evaluation.features import unit_rows
from mmcl_jax.evaluation.tasks import Task

NEIGHBOURS = (1, 5, 20, 50)
TEMPERATURE = 0.07
_CHUNK = 2**24  # similarities held at a time (64 MiB)


def nearest(bank: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most similar rows of the bank for every query, by cosine, most similar first.

    Ties go to the row that comes first. The matrix of all pairs is walked in chunks of queries.

    Args:
      bank: `[N, D]`.
      queries: `[M, D]`.
      count: at most `N`.

    Returns:
      Cosines `[M, count]` float32, and rows of the bank `[M, count]`.

    Raises:
      ValueError: the bank has fewer rows than that.
    """
    if count > len(bank):
        raise ValueError(f"{count} neighbours of {len(bank)} rows were asked for")
    rows = min(len(queries), max(1, _CHUNK // len(bank)))
    unit = jnp.asarray(unit_rows(bank))
    parts = []
    for start in range(0, len(queries), rows):
        chunk = unit_rows(queries[start : start + rows])
        padded = np.pad(chunk, ((0, rows - len(chunk)), (0, 0)))  # one shape, so one compilation
        parts.append([np.asarray(part)[: len(chunk)] for part in _top(unit, padded, count=count)])
    cosines, places = zip(*parts, strict=True)
    return np.concatenate(cosines), np.concatenate(places)


def knn_outputs(
    cosines: np.ndarray, targets: np.ndarray, *, task: Task, temperature: float = TEMPERATURE
) -> np.ndarray:
    """What the neighbours say, each with the weight `exp(cosine / temperature)`: `[M, outputs]`.

    Log-shares of the classes (with 1e-12 added, so that a class without a vote is finite), or the weighted mean of the
    labels. This is the classifier of Wu et al. (CVPR 2018), section 3.4, also used by DINO.

    Args:
      cosines: `[M, k]`.
      targets: `[M, k]` class codes or labels of the neighbours.
      task: classification or regression.
      temperature: smaller is nearer to the single nearest neighbour.
    """
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)  # relative to the nearest
    weights /= weights.sum(axis=1, keepdims=True)
    if task.kind == "regression":
        return (weights * targets).sum(axis=1, keepdims=True)
    shares = np.zeros((len(weights), task.classes))
    np.add.at(shares, (np.arange(len(weights))[:, None], targets), weights)
    return np.log(shares + 1e-12)


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
    """Classification or regression by neighbours, their number chosen on validation by the primary metric.

    Numbers above the size of the bank are not tried: a small budget of labels has so many neighbours only. Ties go to
    the smaller number.

    Args:
      bank: features `[N, D]` of the labelled training rows.
      labels: `[N]` their targets.
      val: features and targets of the validation split.
      test: the same of the test split.
      task: classification or regression.
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
        return task.metrics(outputs, targets)

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
