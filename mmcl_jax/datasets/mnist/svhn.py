"""The published files of Street View House Numbers (SVHN), cropped digits, in MATLAB's format 5."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from scipy.io import loadmat

from mmcl_jax.errors import UserError, check

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_REMEDY = "fetch train_32x32.mat and test_32x32.mat of SVHN again"


def read_mat(path: Path) -> tuple[UInt8[np.ndarray, "N 32 32 3"], Int64[np.ndarray, "N"]]:
    """Return the images and digits of a file such as `train_32x32.mat`.

    The file has `X` uint8 [32, 32, 3, N] and `y` [N, 1], where the label of the digit 0 is 10.

    Raises:
      UserError: the file cannot be read, lacks an array, or its arrays do not fit.
    """
    check(path.is_file(), f"{path} does not exist; put train_32x32.mat and test_32x32.mat of SVHN into the folder.")
    try:
        arrays = loadmat(str(path), variable_names=["X", "y"])
    except Exception as error:  # damaged files raise many types, down to NotImplementedError of format 7.3
        raise UserError(f"{path} cannot be read as a file of MATLAB's format 5 ({error}); {_REMEDY}.") from error
    for name in ("X", "y"):
        check(name in arrays, f"{path} has no array {name!r}; {_REMEDY}.")
    images, labels = np.asarray(arrays["X"]), np.asarray(arrays["y"])
    check(
        images.dtype == np.uint8 and images.ndim == 4 and images.shape[:3] == (32, 32, 3),
        f"{path}: X is {images.dtype} {list(images.shape)}, and not uint8 [32, 32, 3, N]; {_REMEDY}.",
    )
    check(
        labels.dtype.kind in "uif" and labels.shape in ((images.shape[3],), (images.shape[3], 1)),
        f"{path}: X has {images.shape[3]} images, and y {labels.dtype} {list(labels.shape)}; {_REMEDY}.",
    )
    digits = labels.ravel()
    bad = np.flatnonzero(~np.isin(digits, np.arange(1, 11)))
    check(not len(bad), f"{path}: the label {digits[bad[:1]]} of image {bad[:1]} is not one of 1 to 10; {_REMEDY}.")
    return np.ascontiguousarray(np.moveaxis(images, 3, 0)), digits.astype(np.int64) % 10
