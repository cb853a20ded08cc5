"""The mean average precision of detections: as LoVT computes it, and as COCO does."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from jaxtyping import Bool, Float

from mmcl_jax.tasks.detection.decoding import pixel_iou

THRESHOLDS = np.array([0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75])
RECALLS = np.arange(0.0, 1.01, 0.01)
Found = Sequence[Float[np.ndarray, "n 6"]]  # of every image: left, top, right, bottom, class, score
Boxes = Sequence[Float[np.ndarray, "m 5"]]  # of every image: left, top, right, bottom, class


def released(found: Found, boxes: Boxes, *, classes: int) -> Float[np.ndarray, "classes"]:
    """Return the average precision of every class, the mean over the IoU thresholds .40, .45, ... .75.

    It is that of the package `mean_average_precision` with the policy "soft", by which LoVT (Mueller et al., ECCV 2022)
    and the RSNA challenge before it count: detections come in the order of their scores, and each is paired with the
    box of the largest IoU above the threshold (and not equal to it) that no detection has yet; the last pixels of boxes
    count in an IoU; the precision at a recall is the best at that recall or above, and is averaged over 101 recalls
    from 0 to 1. A class without boxes has the average precision 0, and enters the mean of all classes.

    Args:
      found: the detections.
      boxes: the true boxes.
      classes: their number.

    Example:
      >>> truth = [np.array([[0.0, 0, 9, 9, 0], [20, 20, 29, 29, 0]])]
      >>> said = [np.array([[0.0, 0, 9, 9, 0, 0.9], [20, 20, 29, 25, 0, 0.8]])]  # an IoU of 1, and of 0.6
      >>> released(said, truth, classes=1).round(4).tolist()
      [0.7525]
    """
    precisions = np.zeros(classes)
    for code in range(classes):
        mine = [one[one[:, 4] == code] for one in found]
        true = [one[one[:, 4] == code] for one in boxes]
        scores = np.concatenate([np.zeros(0), *(one[:, 5] for one in mine)])
        hits = np.concatenate([np.zeros((0, len(THRESHOLDS)), bool), *map(_hits, mine, true)])
        hits = hits[np.argsort(-scores, kind="stable")]
        count = sum(len(one) for one in true)
        precisions[code] = np.mean([_average(column, count) for column in hits.T])
    return precisions


def _hits(found: Float[np.ndarray, "n 6"], boxes: Float[np.ndarray, "m 5"]) -> Bool[np.ndarray, "n 8"]:
    """Return by threshold which detections of an image have a box of their own."""
    hits = np.zeros((len(found), len(THRESHOLDS)), bool)
    if not len(boxes):
        return hits
    overlaps = pixel_iou(found, boxes)
    order = np.argsort(-found[:, 5], kind="stable")
    order = order[overlaps[order].max(axis=1) > THRESHOLDS[0]]  # of an untrained head next to none are
    for column, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(boxes), bool)
        for row in order:
            chances = np.where(free, overlaps[row], -1)
            if chances.max() > threshold:
                hits[row, column], free[chances.argmax()] = True, False
    return hits


def _average(hits: Bool[np.ndarray, "n"], count: int) -> float:
    """Return the mean over all recalls of the best precision at this recall or above."""
    true = np.cumsum(hits)
    recall, precision = true / max(count, 1), true / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # recalls rise
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(best), np.append(best, 0)[at], 0).mean())


def coco(found: Found, boxes: Boxes, *, classes: int) -> Float[np.ndarray, "classes"]:
    """Return the average precision of every class as COCO has it; NaN for a class without boxes.

    It is the mean over the IoU thresholds .50, .55, ... .95, of boxes without a convention of pixels, over at most 100
    detections of an image, by `faster-coco-eval`, whose numbers are those of `pycocotools`.

    Args:
      found: the detections.
      boxes: the true boxes.
      classes: their number.
    """

    def places(of_images: Sequence[np.ndarray]) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for image, of_image in enumerate(of_images):
            for left, top, right, bottom, code, *score in of_image.tolist():
                width, height = right - left, bottom - top
                row: dict[str, object] = {
                    "image_id": image,
                    "category_id": int(code),
                    "bbox": [left, top, width, height],
                }
                row |= {"id": len(rows) + 1, "area": width * height, "iscrowd": 0}
                rows.append(row | ({"score": score[0]} if score else {}))
        return rows

    codes = np.concatenate([np.zeros(0), *(one[:, 4] for one in boxes)])
    precisions = np.full(classes, np.nan)
    if not len(codes):
        return precisions
    images = [{"id": image} for image in range(len(boxes))]
    categories = [{"id": code, "name": str(code)} for code in range(classes)]
    said = places(found)
    if not said:
        precisions[np.unique(codes).astype(int)] = 0
        return precisions
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO({"images": images, "categories": categories, "annotations": places(boxes)})
        measure = COCOeval_faster(truth, truth.loadRes(said), "bbox")
        measure.evaluate()
        measure.accumulate()
    table = measure.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes; all areas, 100 detections
    for code in range(classes):
        valid = table[..., code][table[..., code] > -1]
        precisions[code] = valid.mean() if valid.size else np.nan
    return precisions
