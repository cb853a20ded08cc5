"""The contribution of every test row to the primary metric, for intervals that count the size of the test set."""

import base64

import numpy as np

from mmcl_jax.tasks import Class, Number, Task

_LEAST, _MOST = 1e-30, 1e38  # the largest squared error that float32 holds well


def parts(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Return one value per test row, `[N]` float32, whose mean is the metric and whose variance / N is the metric's.

    For top-1 the values are the hits, 0 or 1. For the AUROC of two classes they are its structural components (DeLong
    et al., Biometrics 1988), scaled so that one mean over both classes is the AUROC A: `A + (V - A) N / m`, where m of
    the N rows are in the class of the row, and V is the share of the rows of the other class that are ranked on the
    right side of it. For the mean squared error of a number they are the squared errors. None for other metrics, if all
    rows are of one class, if an output is not finite, or if float32 cannot hold a squared error.
    """
    if not isinstance(task, Class | Number) or not np.isfinite(outputs).all():
        return None
    if isinstance(task, Number):
        squares = np.square(np.asarray(outputs, np.float64)[:, 0] - targets)
        return squares.astype(np.float32) if _LEAST <= squares.max() <= _MOST else None
    if task.classes != 2:
        return (outputs.argmax(axis=1) == targets).astype(np.float32)
    scores = np.asarray(outputs, np.float64)[:, 1] - np.asarray(outputs, np.float64)[:, 0]
    classes = [scores[targets == code] for code in (0, 1)]
    if min(map(len, classes)) == 0:
        return None
    shares = np.empty(len(scores))
    for code, sign in ((0, -1), (1, 1)):
        others, own = np.sort(sign * classes[1 - code]), sign * classes[code]
        below, upto = (np.searchsorted(others, own, side=side) for side in ("left", "right"))
        shares[targets == code] = (below + upto) / 2 / len(others)
    auroc = float(shares[targets == 1].mean())
    sizes = np.where(targets == 1, len(classes[1]), len(classes[0]))
    return (auroc + (shares - auroc) * len(scores) / sizes).astype(np.float32)


def packed(values: np.ndarray | None) -> str:
    """Return the values as text: a bit each if all are 0 or 1, else four bytes each; "" for None."""
    if values is None:
        return ""
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
    kind, count, coded = text.split(" ")
    data = base64.b64decode(coded)
    if kind == "bits":
        return np.unpackbits(np.frombuffer(data, np.uint8), count=int(count)).astype(np.float64)
    return np.frombuffer(data, "<f4").astype(np.float64)
