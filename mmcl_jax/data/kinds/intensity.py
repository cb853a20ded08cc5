"""Intensities of volumes over the training rows: the landmarks of a standard histogram, and a mask.

Scanners of magnetic resonance have no common unit: the same tissue has other values in other scans. Histogram
standardisation (Nyul et al., IEEE Transactions on Medical Imaging 19(2), 2000) fits landmarks, the mean quantiles of
the training volumes on a standard scale, and maps the quantiles of every volume to them, linearly in between. The view
`scan` applies what is fitted here; the run keeps it in `inputs/NAME/fitted.npz`.
"""

import dataclasses
from typing import Any

import numpy as np

from mmcl_jax.data.kinds.kind import chunks
from mmcl_jax.errors import check

# In hundredths: torchio's cutoffs, and the deciles between them.
PERCENTILES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
STANDARD_SCALE = (0.0, 100.0)
VOXELS = ("all", "above_mean")  # whose quantiles count: of all voxels, or of those above the mean of their volume


@dataclasses.dataclass(frozen=True)
class IntensityFit:
    """What a view asks to be fitted on the training volumes of its input.

    Attributes:
      landmarks: whose quantiles are averaged, one of `VOXELS`; "none" for no landmarks.
      mask: whether a mask is fitted; landmarks are then those of masked volumes.
    """

    landmarks: str = "none"
    mask: bool = False


def fit_intensities(rows: Any, asked: IntensityFit, *, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that the view `scan` reads, fitted on the training rows in float64.

    `landmarks` `[C, 11]` float32 are the means over the volumes of the quantiles at `PERCENTILES`, where each volume
    was mapped linearly so that the first is 0 and the last 100. `mask` `[D, H, W]` is true at voxels where more than
    half of the volumes are above their lowest value. Memory is one volume and a few arrays of its size.

    Args:
      rows: volumes `[N, D, H, W, C]` as `Store.read` returns them; those that are absent do not count, and every volume
        of a row that has several does.
      asked: what is fitted.
      name: of the input, for messages.

    Raises:
      UserError: the mask is empty, or no volume has two different values at the outer quantiles.

    Example:
      >>> volumes = np.arange(16, dtype=np.uint8).reshape(2, 2, 2, 2, 1) * np.uint8(10)
      >>> fitted = fit_intensities(volumes, IntensityFit("all"), name="scan")
      >>> fitted["landmarks"].shape, fitted["landmarks"][0, [0, 5, 10]].round(3).tolist()
      ((1, 11), [0.0, 50.0, 100.0])
    """
    fitted: dict[str, np.ndarray] = {}
    if asked.mask:
        fitted["mask"] = _mask(rows, name)
    if asked.landmarks == "none":
        return fitted
    total, count = 0.0, 0
    for part in chunks(rows):
        for volume in part:
            found = percentiles_of(masked(volume, fitted.get("mask")), asked.landmarks)
            extent = found[:, -1:] - found[:, :1]
            if (extent > 0).all():
                low, high = STANDARD_SCALE
                total, count = total + low + (found - found[:, :1]) * ((high - low) / extent), count + 1
    check(
        count > 0,
        f"config.inputs.{name}: no training volume has different intensities at its 1st and 99th percentile, so there "
        "are no landmarks to fit; correct the volumes, or set histogram to 'none' in its view.",
    )
    return {**fitted, "landmarks": np.asarray(total / count, np.float32)}


def percentiles_of(volume: np.ndarray, voxels: str) -> np.ndarray:
    """Return the quantiles `[C, 11]` float64 of a volume `[D, H, W, C]` at `PERCENTILES`, interpolated linearly.

    Args:
      volume: of any real type.
      voxels: "all", or "above_mean" for those above the mean of their channel (all of a constant channel).
    """
    quantiles = []
    for channel in np.moveaxis(volume.astype(np.float64), -1, 0):
        above = channel > channel.mean()
        counted = channel[above] if voxels == "above_mean" and above.any() else channel
        quantiles.append(np.percentile(counted, PERCENTILES))
    return np.stack(quantiles)


def masked(volume: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the volume `[D, H, W, C]` with its lowest value, by channel, outside of a mask `[D, H, W]`."""
    return volume if mask is None else np.where(mask[..., None], volume, volume.min(axis=(0, 1, 2)))


def foreground(rows: Any) -> np.ndarray:
    """Return the voxels `[D, H, W]` at which more than half of the volumes are above their lowest value.

    Example:
      >>> volumes = np.zeros((3, 1, 2, 2, 1), np.uint8)
      >>> volumes[:2, 0, 0, 1] = 9
      >>> foreground(volumes)[0].tolist()
      [[False, True], [False, False]]
    """
    above, count = 0, 0
    for part in chunks(rows):
        above = above + (part > part.min(axis=(1, 2, 3), keepdims=True)).any(axis=-1).sum(axis=0)
        count += len(part)
    return np.asarray(above > count / 2)


def _mask(rows: Any, name: str) -> np.ndarray:
    mask = foreground(rows)
    check(
        bool(mask.any()),
        f"config.inputs.{name}: no voxel is above the lowest value in more than half of the training volumes, so the "
        "mask is empty; set mask to False in its view.",
    )
    return mask
