"""What every test row adds to the primary metric, for intervals that know how few test rows there are."""

import base64

import numpy as np

from mmcl_jax.tasks import Class, Task


def parts(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Return values `[N]` float32 of the test rows, whose mean is the metric and whose variance / N is that of it.

    For top-1 they are the hits, 0 or 1. For the AUROC of two classes they are its structural components, scaled so that
    the two classes can be averaged together: with m of N rows in the class of the row, and V the share of the rows of
    the other class that are ranked on the right side of it, `A + (V - A) N / m` (DeLong et al., Biometrics 1988). None
    for other metrics, where all rows are of one class, and where an output is not finite.
    """
    if not isinstance(task, Class) or not np.isfinite(outputs).all():
        return None
    if task.classes != 2:
        return (outputs.argmax(axis=1) == targets).astype(np.float32)
    scores = np.asarray(outputs, np.float64)[:, 1] - np.asarray(outputs, np.float64)[:, 0]
    classes = [scores[targets == code] for code in (0, 1)]
    if min(map(len, classes)) == 0:
        return None
    shares = np.empty(len(scores))
    for code, sign in ((0, -1), (1, 1)):
        others, mine = np.sort(sign * classes[1 - code]), sign * classes[code]
        below, upto = (np.searchsorted(others, mine, side=side) for side in ("left", "right"))
        shares[targets == code] = (below + upto) / 2 / len(others)
    auroc = float(shares[targets == 1].mean())
    sizes = np.where(targets == 1, len(classes[1]), len(classes[0]))
    return (auroc + (shares - auroc) * len(scores) / sizes).astype(np.float32)


def packed(values: np.ndarray | None) -> str:
    """Return the values as text: one bit each where all are 0 or 1, else four bytes; empty for None."""
    if values is None:
        return ""
    if np.isin(values, (0, 1)).all():
        return f"bits {len(values)} {base64.b64encode(np.packbits(values.astype(bool)).tobytes()).decode()}"
    return f"float32 {len(values)} {base64.b64encode(values.astype('<f4').tobytes()).decode()}"


def unpacked(text: str) -> np.ndarray | None:
    """Return the inverse of `packed`, float64.

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
