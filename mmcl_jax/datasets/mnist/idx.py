"""The IDX files in which MNIST and Fashion-MNIST are published, plain or packed with gzip."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mmcl_jax.errors import UserError, check

MOST_BYTES = 2**31  # of an unpacked file; those of MNIST have 47 million
_UINT8 = 8
_REMEDY = "fetch the file again"


def read_idx(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Return the array of uint8 in an IDX file, `[N, H, W]` of images (`axes` 3) or `[N]` of labels (1).

    The file begins with the bytes 0, 0, 8 (for uint8) and the number of axes, and the length of every axis as four
    bytes, the largest first.

    Raises:
      UserError: the file cannot be read, is no such file, or has fewer or more bytes than its header says.
    """
    what = {1: "labels", 3: "images"}[axes]
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); {_REMEDY}.") from error
    check(len(content) <= MOST_BYTES, f"{path} has more than {MOST_BYTES:,} bytes; {_REMEDY}.")
    start = 4 * (1 + axes)
    magic = bytes([0, 0, _UINT8, axes])
    check(
        content[:4] == magic and len(content) >= start,
        f"{path} begins with {content[:4].hex() or 'no byte'}, and an IDX file of {what} with {magic.hex()}; "
        f"{_REMEDY}.",
    )
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", count=axes, offset=4))
    expected = int(np.prod(shape, dtype=object))
    found = len(content) - start
    check(
        found == expected,
        f"{path} has {found:,} bytes after its header, which says {' x '.join(map(str, shape))} = {expected:,}; "
        f"{_REMEDY}.",
    )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
