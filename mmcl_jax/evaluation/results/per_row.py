"""The contribution of every test row or person to the primary metric, for intervals that count the test set."""

import base64

import numpy as np

from mmcl_jax.tasks import Number, Task

PEOPLE = "people "  # before the values of people
_LEAST, _MOST = 1e-30, 1e38  # the largest squared error that float32 holds well


def parts(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Return one value per test row, `[N]` float32, whose mean is the metric and whose variance / N is the metric's.

    See `Task.contributions`. None where the task gives none, if an output is not finite, or if float32 cannot hold a
    squared error.
    """
    if not np.isfinite(outputs).all():
        return None
    values = task.contributions(outputs, targets)
    if values is None or (isinstance(task, Number) and not _LEAST <= values.max() <= _MOST):
        return None
    return values.astype(np.float32)


def of_people(values: np.ndarray | None, people: np.ndarray | None) -> np.ndarray | None:
    """Return one value per person, `[P]` float32, for values `[N]` of rows of which a person may have several.

    The mean of a person's rows is no independent draw of a row: two eyes of a person are much alike. So the person is
    the unit of every interval over the test set. The value of a person is `m + (sum over its rows of v - m) P / N`,
    with m the mean of v over rows; the mean over people is m, and people with many rows weigh more, as in the metric.

    Args:
      values: of rows, or None.
      people: `[N]` the person of every row; None if every row is a person of its own.

    Example:
      >>> of_people(np.array([1.0, 0.0, 1.0, 1.0]), np.array([7, 7, 9, 9])).tolist()
      [0.5, 1.0]
    """
    if values is None or people is None:
        return values
    _, index = np.unique(people, return_inverse=True)
    count, mean = int(index.max()) + 1, float(values.mean(dtype=np.float64))
    if count == len(values):
        return values
    sums = np.bincount(index, weights=values - mean, minlength=count)
    return (mean + sums * count / len(values)).astype(np.float32)


def packed(values: np.ndarray | None, *, people: bool = False) -> str:
    """Return the values as text: a bit each if all are 0 or 1, else four bytes each; "" for None.

    Values of people, who may have several rows, begin with "people ".
    """
    if values is None:
        return ""
    if people:
        return PEOPLE + packed(values)
    if np.isin(values, (0, 1)).all():
        return f"bits {len(values)} {base64.b64encode(np.packbits(values.astype(bool)).tobytes()).decode()}"
    return f"float32 {len(values)} {base64.b64encode(values.astype('<f4').tobytes()).decode()}"


def unpacked(text: str) -> np.ndarray | None:
    """Return the values, float64, that `packed` wrote; None for "".

    Example:
      >>> unpacked(packed(np.array([1.0, 0.0, 1.0]))).tolist()
      [1.0, 0.0, 1.0]
    """
    if not text:
        return None
    kind, count, coded = text.removeprefix(PEOPLE).split(" ")
    data = base64.b64decode(coded)
    if kind == "bits":
        return np.unpackbits(np.frombuffer(data, np.uint8), count=int(count)).astype(np.float64)
    return np.frombuffer(data, "<f4").astype(np.float64)
