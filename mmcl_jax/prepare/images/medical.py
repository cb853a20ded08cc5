"""Reading NIfTI images, and what DICOM shares with them.

    pip install "mmcl_jax[medical]"

Orientation: an image is returned as its file stores it, rows downwards and columns to the right. A DICOM file stores
rows first. A NIfTI array is indexed [x, y, ...], so its second axis becomes the rows and its first the columns, as the
usual converters lay out DICOM. The patient's orientation in a header is ignored: no slice is turned or mirrored.
Whole volumes of NIfTI are turned to the patient's axes (see `grid`).
"""

import contextlib
import gzip
import importlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.levels import Levels
from mmcl_jax.prepare.images.unusable import require
from mmcl_jax.text import words_of

_MOST_BEFORE = 1 << 26  # bytes of a header with its extensions; a compressed file can claim gigabytes of zeros
MAX_PIXELS = 1 << 28  # in the header of a volume or a cine; files that claim more are not decoded


def read_nifti(path: Path, *, max_pixels: int = MAX_PIXELS) -> Levels:
    """Return the image of a 2-D NIfTI file, or the middle slice (n // 2) along the last axis of a 3-D one.

    Only that slice is loaded.

    Args:
      path: the path of the file.
      max_pixels: larger images are refused before they are loaded.

    Returns:
      Values `[H, W, 1]`; float32 if the header scales values, otherwise of the stored type.

    Raises:
      UserError: the file cannot be read, is neither 2-D nor 3-D, or has too many pixels.
    """
    image = open_nifti(path, max(max_pixels, MAX_PIXELS))
    shape = _image_shape(image, path)
    check_size(shape[:2], str(path), max_pixels)
    at = (..., shape[2] // 2) if len(shape) == 3 else (...,)
    values = nifti_values(image, path, (*at, *[0] * (len(image.shape) - len(shape)))).T[..., None]
    return Levels(values, full=full_range(image))


def nifti_shape(path: Path) -> tuple[int, int, int]:
    """Return `(height, width, 1)` of the image of a NIfTI file from its header alone."""
    shape = _image_shape(open_nifti(path, MAX_PIXELS), path)
    return shape[1], shape[0], 1


def nifti_array(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return all values of a NIfTI file, indexed [x, y, ...] as stored, with the checks and types of `read_nifti`.

    Raises:
      UserError: as `read_nifti`, or a value is not finite.
    """
    image = open_nifti(path, max_pixels)
    values = nifti_values(image, path, (...,))
    check(bool(np.isfinite(values).all()), f"The image {path} has values that are not finite.")
    return values


def open_nifti(path: Path, most: int, what: str = "pixels") -> Any:
    """Return an opened NIfTI image, whose values are not loaded.

    Raises:
      UserError: the file cannot be read, has values other than real numbers, or more than `most` pixels or voxels.
    """
    nibabel = extra("nibabel")
    with decoding(str(path)):
        before = _bytes_before_values(path)
        check(
            before <= _MOST_BEFORE,
            f"The image {path} claims {before:,} bytes before its values; more than {_MOST_BEFORE:,} are refused.",
        )
        image = nibabel.load(path)
    check(image.get_data_dtype().kind in "iuf", f"The image {path} has values of type {image.get_data_dtype()}.")
    check_size(image.shape, str(path), most, what)
    return image


def _bytes_before_values(path: Path) -> int:
    """Return the size of the header of a NIfTI file with its extensions, which nibabel reads as a whole."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        header = file.read(540)
    for order in "<>" if len(header) >= 352 else "":
        (version,) = struct.unpack(f"{order}i", header[:4])
        if version == 348:  # NIfTI-1
            (offset,) = struct.unpack(f"{order}f", header[108:112])
            return int(offset)
        if version == 540:
            return int(struct.unpack(f"{order}q", header[168:176])[0])
    return 0  # nibabel says what the file is


def nifti_values(image: Any, path: Path, at: tuple[Any, ...]) -> np.ndarray:
    """Return the values at an index, floats as float32. Raises `UserError` if they cannot be read."""
    with decoding(str(path)):
        values = np.asarray(image.dataobj[at])
    with np.errstate(over="ignore"):  # what float32 does not hold is infinite, and refused like other infinities
        return values.astype(np.float32) if values.dtype.kind == "f" else values


def full_range(image: Any) -> tuple[float, float] | None:
    """Return the range of an integer type, scaled like the values by the header; None for floats."""
    dtype = image.get_data_dtype()
    if dtype.kind not in "iu":
        return None
    ends = sorted(float(image.dataobj.slope) * end + float(image.dataobj.inter) for end in _ends(dtype))
    return ends[0], ends[1]


def _ends(dtype: np.dtype) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _image_shape(image: Any, path: Path) -> tuple[int, ...]:
    """Return the shape of a slice or a volume, without the trailing axes of length 1 that many writers add."""
    shape = tuple(map(int, image.shape))
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    by = " x ".join(map(str, shape))
    check(
        len(shape) in (2, 3),
        f"The image {path} has {len(shape)} dimensions, {by}; give a file with one slice or one volume.",
    )
    return shape


def check_size(shape: tuple[int, ...], name: str, most: int, what: str = "pixels") -> None:
    """Raise `UserError` if an image is empty or has more than `most` "pixels" or "voxels"."""
    by = " x ".join(map(str, shape))
    check(min(shape, default=0) > 0, f"The image {name} is empty: {by}.")
    small = float(np.prod(shape, dtype=np.float64)) <= most
    sentence = f"The image {name} claims {by} {what}; more than {most:,} are refused; --max-{what} allows more."
    require(small, "too large", sentence)


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn any error inside into one sentence; on broken files, decoders raise errors of many types."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The image {name} cannot be read: {words_of(error)}.") from error


def extra(module: str) -> Any:
    """Import a module of the extra `medical`.

    Raises:
      UserError: the extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f'{package} is not installed; run pip install "mmcl_jax[medical]".') from error
