"""Volumes as pictures: three orthogonal slices side by side."""

import numpy as np
from jaxtyping import Float, Shaped

_GAP = 2  # pixels between slices, after they are enlarged
PLANES = ("axial", "coronal", "sagittal")


def three_slices(volume: Shaped[np.ndarray, "D H W *C"], at: tuple[int, int, int] | None = None) -> list[np.ndarray]:
    """Return the slices across depth, height and width through a voxel, by default the middle one.

    They are turned upside down, since a volume in RAS+ begins at the bottom and at the back: the head's top and front
    are at the top of the slices, and its right at their right.

    Example:
      >>> [part.shape for part in three_slices(np.zeros((2, 3, 4)))]
      [(3, 4), (2, 4), (2, 3)]
    """
    depth, height, width = (length // 2 for length in volume.shape[:3]) if at is None else at
    return [part[::-1] for part in (volume[depth], volume[:, height], volume[:, :, width])]


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


def in_grey(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return values in [0, 1], from the 1st percentile to the 99.5th: a few bright voxels must not hide all others."""
    low, high = np.percentile(values, (1, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return np.clip((values - low) / (high - low if high > low else 1), 0, 1)
