"""Reading masks: images whose values are classes, so that resizing takes the nearest pixel and never mixes values."""

import dataclasses
from pathlib import Path

import numpy as np

from mmcl_jax.prepare.images.files import Fit, fitted, stored_values
from mmcl_jax.prepare.images.space import Space, resampled
from mmcl_jax.prepare.images.unusable import require
from mmcl_jax.prepare.images.volume import read_levels

_BYTE = 255
_JPEG = b"\xff\xd8\xff"


def read_mask(
    path: str, shape: tuple[int, ...], fit: Fit, values: tuple[int, ...] = (), space: Space | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return a mask as uint8 class indices of `shape`, and its size in the file.

    Args:
      path: an image of any format, or a volume if `shape` has a depth.
      shape: (height, width, 1), or (depth, height, width, 1).
      fit: how the image of the mask is fitted; the filter is replaced by the nearest pixel.
      values: the pixel value of each class, in order; () if the values are the classes.
      space: of the volume of the mask: its orientation and grid.

    Raises:
      Unusable: the file cannot be read or is a JPEG, a pixel has a colour or a value of no class, or the mask lies on
        another grid than its volume.
    """
    space, grid = space or Space(), None
    with Path(path).open("rb") as file:
        lossy = file.read(len(_JPEG)) == _JPEG
    require(
        not lossy, "wrong mask", f"The mask {path} is a JPEG, which changes pixel values; export it as PNG instead."
    )
    nearest = dataclasses.replace(fit, resize="nearest", antialias=True)
    if len(shape) == 4:
        levels, grid = read_levels(Path(path), fit, space.orientation)
        numbers = levels.values
    else:
        numbers = stored_values(path, fit)
    size = numbers.shape[:-1]
    grey = bool((numbers == numbers[..., :1]).all())
    require(grey, "wrong channels", f"The mask {path} has colours; each pixel must have one value, its class.")
    numbers = numbers[..., :1]
    bytes_only = bool(((numbers >= 0) & (numbers <= _BYTE) & (np.rint(numbers) == numbers)).all())
    require(bytes_only, "wrong mask", f"The mask {path} has values other than the whole numbers from 0 to 255.")
    codes = numbers.astype(np.uint8)
    if values:
        table = np.full(_BYTE + 1, -1)
        table[list(values)] = np.arange(len(values))
        unknown = codes[table[codes] < 0]
        if unknown.size:
            require(False, "wrong mask", f"The mask {path} has the value {unknown[0]}, which is none of its classes.")
        codes = table[codes].astype(np.uint8)
    if len(shape) == 4:
        codes = space.fitted(codes, grid, path, order=0, antialias=False)
        return resampled(codes, shape[:3], order=0, antialias=False), size
    height, width, _ = shape
    return fitted(codes, path, (height, width, 1), nearest)[0], size
