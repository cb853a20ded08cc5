"""Reading masks: images whose values are classes, and are never mixed."""

import dataclasses
from pathlib import Path

import numpy as np

from mmcl_jax.prepare.images.files import Fit, fitted, reading_values
from mmcl_jax.prepare.images.unusable import require
from mmcl_jax.prepare.images.volume import read_levels, resampled

_BYTE = 255
_JPEG = b"\xff\xd8\xff"


def read_mask(
    path: str, shape: tuple[int, ...], fit: Fit, values: tuple[int, ...] = ()
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the mask as uint8 of a shape, and the size that it has in the file.

    Args:
      path: of an image of any format, or of a volume where `shape` is one.
      shape: (height, width, 1), or (depth, height, width, 1).
      fit: how its image is made to fit; of its filter the nearest pixel is taken.
      values: that it may have, which become 0, 1 and so on; () for any byte.

    Raises:
      Unusable: it cannot be read, has colours, or values that are no bytes or none of `values`.
    """
    with Path(path).open("rb") as file:
        lossy = file.read(len(_JPEG)) == _JPEG
    require(
        not lossy, "wrong mask", f"The mask {path} is a JPEG, which changes pixels; write it as PNG from its source."
    )
    nearest = dataclasses.replace(fit, resize="nearest", antialias=True)
    numbers = read_levels(Path(path), fit).values if len(shape) == 4 else reading_values(path, fit)
    size = numbers.shape[:-1]
    same = bool((numbers == numbers[..., :1]).all())
    require(same, "wrong channels", f"The mask {path} has colours; its pixels must be classes, one value each.")
    numbers = numbers[..., :1]
    byte = bool(((numbers >= 0) & (numbers <= _BYTE) & (np.rint(numbers) == numbers)).all())
    require(byte, "wrong mask", f"The mask {path} has values that are no whole numbers from 0 to 255.")
    codes = numbers.astype(np.uint8)
    if values:
        table = np.full(_BYTE + 1, -1)
        table[list(values)] = np.arange(len(values))
        other = codes[table[codes] < 0]
        if other.size:
            require(False, "wrong mask", f"The mask {path} has the value {other[0]}, which is none of its classes.")
        codes = table[codes].astype(np.uint8)
    if len(shape) == 4:
        return resampled(codes, shape[:3], order=0, antialias=False), size
    height, width, _ = shape
    return fitted(codes, path, (height, width, 1), nearest)[0], size
