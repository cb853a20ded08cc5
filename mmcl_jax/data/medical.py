"""Reading DICOM and NIfTI images.

    pip install "mmcl_jax[medical]"

Orientation: a picture is returned as its file stores it, rows downwards and columns to the right. A DICOM file stores
rows first. A NIfTI array is indexed [x, y, ...], so its second axis becomes the rows and its first the columns, as the
usual converters lay out DICOM. Nothing is turned or mirrored by what a header says about the patient.
"""

import contextlib
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check

MAX_PIXELS = 1 << 28  # as for other image files: what a header may claim before anything is decoded
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # its transfer syntax, in the first bytes of the file


def read_dicom(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture of a DICOM file.

    Stored values go through the modality LUT (or rescale slope and intercept) where there is one, and MONOCHROME1, in
    which the lowest value is white, is inverted within the range of the stored bits. The display window is not applied.

    Args:
      path: of the file.
      max_pixels: larger pictures are refused before they are decoded.

    Returns:
      `[H, W, 1]`, or `[H, W, 3]` for colour; float32 where values were rescaled, else integers.

    Raises:
      UserError: the file cannot be read, has several frames or an absurd size, or the extra is not installed.
    """
    dataset = open_dicom(path, str(path))
    return dicom_pixels(dataset, str(path), max_pixels=max_pixels)


def read_nifti(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture of a NIfTI file: a 2-D one as it is, of a 3-D one the middle slice (n // 2) of the last axis.

    Returns:
      `[H, W, 1]`; float32 where the header scales values, else of the stored type.

    Raises:
      UserError: the file cannot be read, is neither 2-D nor 3-D, or has an absurd size or values that are not finite.
    """
    image = _open_nifti(path, max_pixels)
    shape = _shape(image)
    check(
        len(shape) in (2, 3),
        f"The image {path} has {len(shape)} dimensions, {_by(shape)}; give a file with one slice or one volume.",
    )
    at = (..., shape[2] // 2) if len(shape) == 3 else (...,)
    return _nifti_values(image, path, (*at, *[0] * (len(image.shape) - len(shape)))).T[..., None]


def nifti_array(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """All values of a NIfTI file, indexed [x, y, ...] as stored; checked and typed as by `read_nifti`."""
    image = _open_nifti(path, max_pixels)
    return _nifti_values(image, path, (...,))


def open_dicom(source: Path | bytes, name: str) -> Any:
    """The data set of a DICOM file, or of its bytes; `name` is what errors call it."""
    pydicom = extra("pydicom")
    with _decoding(name), io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        # A deflated file is inflated as a whole, before any of its sizes can be looked at.
        check(
            _DEFLATED not in file.read(1024), f"The image {name} is deflated as a whole; convert its transfer syntax."
        )
        file.seek(0)
        return pydicom.dcmread(file)


def dicom_pixels(dataset: Any, name: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture of a DICOM data set, as `read_dicom` returns it."""
    pixels = extra("pydicom.pixels")
    with _decoding(name):
        check("PixelData" in dataset, f"The image {name} is a DICOM file without a picture.")
        frames = int(dataset.get("NumberOfFrames") or 1)
        check(frames == 1, f"The image {name} has {frames} frames; split it into files of one frame each.")
        height, width = int(dataset.Rows), int(dataset.Columns)
        _check_size((height, width), name, max_pixels)
        colours = str(dataset.PhotometricInterpretation)
        stored = pixels.pixel_array(dataset)  # YBR has become RGB
        if colours == "PALETTE COLOR":
            stored = pixels.apply_color_lut(stored, dataset)
        if stored.ndim == 3:
            return stored
        check(
            colours in ("MONOCHROME1", "MONOCHROME2"),
            f"The image {name} has the unknown photometric interpretation {colours}.",
        )
        if colours == "MONOCHROME1":
            stored = _inverted(stored, int(dataset.BitsStored), bool(dataset.PixelRepresentation))
        plain = (
            "ModalityLUTSequence" not in dataset
            and float(dataset.get("RescaleSlope") or 1) == 1
            and float(dataset.get("RescaleIntercept") or 0) == 0
        )
        values = stored if plain else pixels.apply_modality_lut(stored, dataset).astype(np.float32)
    return values[..., None]


def _inverted(stored: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return (low + high - stored.astype(np.int64)).astype(stored.dtype)


def _open_nifti(path: Path, max_pixels: int) -> Any:
    nibabel = extra("nibabel")
    with _decoding(str(path)):
        image = nibabel.load(path)
    check(image.get_data_dtype().kind in "iuf", f"The image {path} has values of type {image.get_data_dtype()}.")
    _check_size(image.shape, str(path), max_pixels)
    return image


def _nifti_values(image: Any, path: Path, at: tuple[Any, ...]) -> np.ndarray:
    with _decoding(str(path)):
        values = np.asarray(image.dataobj[at])
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
    check(bool(np.isfinite(values).all()), f"The image {path} has values that are not finite.")
    return values


def _shape(image: Any) -> tuple[int, ...]:
    """The shape without axes of length 1 at its end: many writers add them."""
    shape = tuple(image.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _check_size(shape: tuple[int, ...], name: str, max_pixels: int) -> None:
    check(min(shape, default=0) > 0, f"The image {name} is empty: {_by(shape)}.")
    pixels = int(np.prod(shape, dtype=np.float64))
    check(pixels <= max_pixels, f"The image {name} claims {_by(shape)} pixels; more than {max_pixels:,} are refused.")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Any error inside becomes one sentence: on broken files, decoders raise whatever comes to them."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UserError(f"The image {name} cannot be read: {reason}.") from error


def extra(module: str) -> Any:
    """A module of the extra `medical`.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f'{package} is not installed; run pip install "mmcl_jax[medical]".') from error
