"""From the outputs of a detector to boxes: thresholds of confidence, and non-maximum suppression."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from mmcl_jax.tasks.detection.anchors import Scales

CONFIDENCE, OVERLAP = 0.2, 0.4  # the least objectness of a box, and the IoU from which a box suppresses others
_BLOCK = 64  # boxes of which non-maximum suppression compares each with all of a lower score at a time
_LARGEST = 20.0  # logarithm of a size in anchors, beyond every image; an infinite box has no IoU


def decoded(outputs: Float[np.ndarray, "N cells values"], scales: Scales) -> list[Float[np.ndarray, "n 6"]]:
    """Return the boxes that a detector finds in every image: left, top, right, bottom, class and score.

    A centre is the cell plus a sigmoid, a size the anchor times an exponential, and the score is the sigmoid of the
    objectness; boxes with a score below 0.2 are dropped, and within each class every box suppresses those of a lower
    score with an IoU of 0.4 or more. Boxes are in pixels of the stored image, in the order of their classes and, within
    a class, of falling scores. They may reach beyond the image.

    Args:
      outputs: logits, as `losses.detection_loss` takes them.
      scales: the grids and their anchors.
    """
    values = outputs.shape[-1] // scales.per_cell
    logits = outputs.astype(np.float64).reshape(len(outputs), -1, scales.per_cell, values)
    corner, step, sizes = _geometry(scales)
    found = []
    for image in logits:
        score = expit(image[..., 4])
        cell, anchor = np.nonzero(score >= CONFIDENCE)
        chosen = image[cell, anchor]
        centre = corner[cell] + expit(chosen[:, :2]) * step[cell]
        half = np.exp(np.minimum(chosen[:, 2:4], _LARGEST)) * sizes[cell, anchor] / 2
        classes = chosen[:, 5:].argmax(axis=1) if values > 6 else np.zeros(len(chosen), int)
        boxes = np.column_stack([centre - half, centre + half, classes, score[cell, anchor]])
        found.append(suppressed(boxes))
    return found


def suppressed(boxes: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "m 6"]:
    """Return the boxes that remain after greedy non-maximum suppression within each class.

    Example:
      >>> boxes = np.array([[0, 0, 9, 9, 0, 0.5], [0, 0, 9, 8, 0, 0.9], [0, 0, 9, 9, 1, 0.3], [20, 20, 29, 29, 0, 0.4]])
      >>> suppressed(boxes)[:, 4:].tolist()
      [[0.0, 0.9], [0.0, 0.4], [1.0, 0.3]]
    """
    kept = [np.zeros((0, 6))]
    for code in np.unique(boxes[:, 4]):
        rest = boxes[boxes[:, 4] == code]
        rest = rest[np.argsort(-rest[:, 5], kind="stable")]
        while len(rest):
            block, rest = rest[:_BLOCK], rest[_BLOCK:]
            apart, remains = pixel_iou(block, block) < OVERLAP, np.ones(len(block), bool)
            for index in range(len(block)):
                if remains[index]:
                    remains[index + 1 :] &= apart[index, index + 1 :]
            kept.append(block[remains])
            rest = rest[(pixel_iou(block[remains], rest) < OVERLAP).all(axis=0)]
    return np.concatenate(kept)


def pixel_iou(first: Float[np.ndarray, "n c"], second: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Return the IoU of boxes (left, top, right, bottom, ...) whose last pixels count, `+ 1` to every length.

    Example:
      >>> pixel_iou(np.array([[0.0, 0, 1, 1]]), np.array([[0.0, 0, 1, 1], [1.0, 1, 2, 2], [5.0, 5, 6, 6]])).tolist()
      [[1.0, 0.14285714285714285, 0.0]]
    """
    inner: Any = 1.0
    for low, high in ((0, 2), (1, 3)):  # along x and y
        length = np.minimum(first[:, None, high], second[:, high])
        length -= np.maximum(first[:, None, low], second[:, low])
        inner = inner * np.maximum(length + 1, 0)
    areas = [(one[:, 2:4] - one[:, :2] + 1).prod(axis=-1) for one in (first, second)]
    return inner / (areas[0][:, None] + areas[1][None] - inner)


def _geometry(scales: Scales) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the corner and the size of every cell, `[cells, 2]`, and the sizes of its anchors `[cells, A, 2]`."""
    left, top, width, height = scales.frame
    corners, steps, sizes = [], [], []
    for (rows, columns), anchors in zip(scales.grids, scales.anchors, strict=True):
        step = np.array([width / columns, height / rows])
        row, column = np.divmod(np.arange(rows * columns), columns)
        corners.append(np.column_stack([column, row]) * step + [left, top])
        steps.append(np.broadcast_to(step, (rows * columns, 2)))
        sizes.append(np.broadcast_to(np.array(anchors), (rows * columns, len(anchors), 2)))
    return np.concatenate(corners), np.concatenate(steps), np.concatenate(sizes)
