"""Whether a map over the regions of an image points at a finding: hits, mass inside, contrast, overlap, and chance.

A box becomes a mask of regions (`regions_inside`), so that a map of 7 x 7 weights is scored without enlarging it.
"""

from typing import NamedTuple

import numpy as np

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of maps scaled to [0, 1]


def regions_inside(boxes: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return which regions of a grid lie in boxes, `[L]` bool: those whose centre lies in any of them.

    A box that has no centre of a region gets the region that has the centre of the box, so that each can be hit.

    Args:
      boxes: `[M, 4]` x, y, width and height as shares of the image, x and y of the top left corner.
      grid: rows and columns of the regions.

    Example:
      >>> regions_inside(np.array([[0.0, 0.0, 0.5, 1.0]]), (2, 2)).tolist()  # the left half
      [True, False, True, False]
      >>> regions_inside(np.array([[0.9, 0.9, 0.05, 0.05]]), (2, 2)).tolist()
      [False, False, False, True]
    """
    height, width = grid
    y, x = ((np.arange(size) + 0.5) / size for size in grid)
    inside = np.zeros(grid, bool)
    for left, top, wide, tall in np.asarray(boxes, np.float64):
        within = ((y >= top) & (y < top + tall))[:, None] & ((x >= left) & (x < left + wide))[None]
        if not within.any():
            row, column = int((top + tall / 2) * height), int((left + wide / 2) * width)
            within[min(max(row, 0), height - 1), min(max(column, 0), width - 1)] = True
        inside |= within
    return inside.reshape(-1)


class Pointing(NamedTuple):
    """The scores of Q maps, each `[Q]`.

    Attributes:
      hit: 1 if the region of the largest value lies inside; of k equal ones the share that does.
      inside: the share of the map's mass that lies inside, after its smallest value is subtracted if any is negative.
      contrast: the contrast-to-noise ratio, the difference of the means inside and outside over the square root of
        the sum of both variances (signed; Boecking et al., ECCV 2022, take its absolute value); NaN without an outside.
      iou: the mean over thresholds .1 to .5, of the map scaled to [0, 1], of the overlap with the regions inside.
      chance: the share of the regions that lie inside: what `hit` and `inside` are for a map drawn at random.
    """

    hit: np.ndarray
    inside: np.ndarray
    contrast: np.ndarray
    iou: np.ndarray
    chance: np.ndarray


def pointing(maps: np.ndarray, inside: np.ndarray) -> Pointing:
    """Return the scores of maps.

    Args:
      maps: `[Q, L]`, attention or cosines.
      inside: `[Q, L]` bool, the regions of the finding; at least one each.

    Example:
      >>> scores = pointing(np.array([[0.7, 0.1, 0.1, 0.1]]), np.array([[True, False, False, False]]))
      >>> scores.hit.tolist(), scores.inside.round(2).tolist(), scores.chance.tolist()
      ([1.0], [0.7], [0.25])
    """
    maps, inside = np.asarray(maps, np.float64), np.asarray(inside, bool)
    low, high = maps.min(axis=1, keepdims=True), maps.max(axis=1, keepdims=True)
    best = maps == high
    size, chance = inside.sum(axis=1), inside.mean(axis=1)
    mass = maps - np.minimum(low, 0)
    total = mass.sum(axis=1)
    flat = (high == low)[:, 0]
    share = np.where(total > 0, np.where(inside, mass, 0).sum(axis=1) / np.where(total > 0, total, 1), chance)
    scaled = np.where(flat[:, None], 0, (maps - low) / np.where(high > low, high - low, 1))
    overlaps = []
    for threshold in THRESHOLDS:
        above = scaled > threshold
        overlaps.append((above & inside).sum(axis=1) / (above | inside).sum(axis=1))
    return Pointing(
        hit=(best & inside).sum(axis=1) / best.sum(axis=1),
        inside=share,
        contrast=_contrast(maps, inside, size),
        iou=np.mean(overlaps, axis=0),
        chance=chance,
    )


def _contrast(maps: np.ndarray, inside: np.ndarray, size: np.ndarray) -> np.ndarray:
    means, variances = [], []
    for mask, count in ((inside, size), (~inside, inside.shape[1] - size)):
        with np.errstate(invalid="ignore"):
            mean = np.where(mask, maps, 0).sum(axis=1) / count
            variances.append(np.where(mask, (maps - mean[:, None]) ** 2, 0).sum(axis=1) / count)
        means.append(mean)
    noise = np.sqrt(variances[0] + variances[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(noise > 0, (means[0] - means[1]) / noise, np.where(means[0] == means[1], 0.0, np.nan))
