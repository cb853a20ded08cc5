"""Volumes as pictures: three orthogonal slices side by side."""

import numpy as np
from jaxtyping import Bool, Float, Shaped

_GAP = 2  # pixels between slices, after they are enlarged


def three_slices(
    volume: Shaped[np.ndarray, "D H W *C"], at: tuple[int, int, int] | None = None, *, upwards: bool
) -> list[np.ndarray]:
    """Return the slices across depth, height and width through a voxel, by default the middle one.

    Args:
      volume: the voxels, maybe with channels.
      at: the voxel.
      upwards: whether slices are turned upside down, for volumes in RAS+, which begin at the bottom and at the back:
        the head's top and front are then at the top of the slices, and its right at their right.

    Example:
      >>> [part.shape for part in three_slices(np.zeros((2, 3, 4)), upwards=True)]
      [(3, 4), (2, 4), (2, 3)]
    """
    depth, height, width = (length // 2 for length in volume.shape[:3]) if at is None else at
    parts = [volume[depth], volume[:, height], volume[:, :, width]]
    return [part[::-1] for part in parts] if upwards else parts


def side_by_side(parts: list[np.ndarray], *, scale: int = 1, gap: int = _GAP) -> np.ndarray:
    """Return pictures `[h, w]` or `[h, w, C]` as one, each in the middle of the height of the tallest, zeros between.

    Args:
      parts: the pictures, of one type.
      scale: how often every pixel is repeated along both axes.
      gap: columns between two pictures.
    """
    tallest = max(part.shape[0] for part in parts) * scale
    placed: list[np.ndarray] = []
    for part in parts:
        large = part.repeat(scale, axis=0).repeat(scale, axis=1)
        above = (tallest - large.shape[0]) // 2
        before = gap if placed else 0
        padding = [(above, tallest - large.shape[0] - above), (before, 0), *[(0, 0)] * (part.ndim - 2)]
        placed.append(np.pad(large, padding))
    return np.concatenate(placed, axis=1)


def in_a_square(parts: list[np.ndarray]) -> np.ndarray:
    """Return three slices as one picture of about equal sides: the first two above, the third below the first.

    Example:
      >>> in_a_square(three_slices(np.ones((4, 6, 5)), upwards=True)).shape
      (12, 12)
    """
    above = side_by_side(parts[:2])
    rest = [(0, 0)] * (above.ndim - 2)
    below = np.pad(parts[2], [(_GAP, 0), (0, max(0, above.shape[1] - parts[2].shape[1])), *rest])
    above = np.pad(above, [(0, 0), (0, below.shape[1] - above.shape[1]), *rest])
    return np.concatenate([above, below])


def in_grey(values: Float[np.ndarray, "*space"], inside: Bool[np.ndarray, "*space"]) -> Float[np.ndarray, "*space"]:
    """Return values in [0, 1], from the 1st to the 99.5th percentile of those inside, and 0 outside.

    A few bright voxels must not hide all others, and neither must empty space.
    """
    low, high = np.percentile(values[inside], (1, 99.5))
    values = np.where(inside, values, low)
    return np.clip((values - low) / (high - low if high > low else 1), 0, 1)
