"""The free-response operating characteristic of detections, of which only the centres count."""

import numpy as np

from mmcl_jax.tasks.detection.average_precision import Boxes, Found

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per image


def froc(found: Found, boxes: Boxes) -> float:
    """Return the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per image; NaN without boxes.

    It is the metric of the Object-CXR challenge, which LoVT reports: detections of all images come in the order of
    their scores, whatever their classes. A detection finds every box that its centre lies in, edges included, and is a
    false positive if there is none. The sensitivity, the share of boxes that were found, is noted as soon as a rate is
    reached, one rate for a detection; rates that are never reached have the sensitivity of the last that was. If none
    is reached, the result is the sensitivity of all detections.

    Args:
      found: the detections.
      boxes: the true boxes.

    Example:
      >>> truth = [np.array([[0.0, 0, 9, 9, 0]]), np.array([[0.0, 0, 9, 9, 0]])]
      >>> said = [np.array([[1.0, 1, 9, 9, 0, 0.9], [30, 30, 32, 32, 0, 0.8]]), np.array([[0.0, 0, 8, 8, 0, 0.7]])]
      >>> round(froc(said, truth), 3)  # a half at the false positive, which reaches 1/8, and all from the next on
      0.929
    """
    count = sum(len(one) for one in boxes)
    if not count:
        return float("nan")
    scores = np.concatenate([np.zeros(0), *(one[:, 5] for one in found)])
    images = np.repeat(np.arange(len(found)), [len(one) for one in found])
    centres = np.concatenate([np.zeros((0, 2)), *((one[:, :2] + one[:, 2:4]) / 2 for one in found)])
    hit = [np.zeros(len(one), bool) for one in boxes]
    hits, wrong, noted = 0, 0, list[float]()
    for index in np.argsort(-scores, kind="stable"):
        of_image, centre = boxes[images[index]], centres[index]
        within = ((of_image[:, :2] <= centre) & (centre <= of_image[:, 2:4])).all(axis=1)
        hits += int((within & ~hit[images[index]]).sum())
        hit[images[index]] |= within
        wrong += not within.any()
        if wrong / len(boxes) >= RATES[len(noted)]:
            noted.append(hits / count)
            if len(noted) == len(RATES):
                break
    if not noted:
        return hits / count
    return float(np.mean([*noted, *[noted[-1]] * (len(RATES) - len(noted))]))
