"""Reading DICOM images, with or without the suffix `.dcm`.

    pip install "mmcl_jax[medical]"

The reader is pydicom. It decodes JPEG lossless and JPEG-LS by GDCM, which the extra installs.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.levels import Levels
from mmcl_jax.prepare.images.medical import MAX_PIXELS, check_size, decoding, extra
from mmcl_jax.prepare.images.unusable import require

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # its transfer syntax, in the first bytes of the file
_MAGIC_AT = 128
_GROUPS = (b"\2\0", b"\x08\0")  # of the first element of a file without a preamble
_FIRST_ELEMENTS = (b"\0\0", b"\1\0", b"\5\0", b"\6\0", b"\x08\0", b"\x12\0", b"\x16\0")  # likewise, its numbers


def is_dicom(path: str) -> bool:
    """Return whether a file is DICOM, by its content or by the suffix `.dcm`.

    Old archives write files without the preamble and its magic word. Such a file counts as DICOM if it begins with an
    element of group 2 or 8, and pydicom reads from it the size of an image and a registered SOP class.

    Raises:
      OSError: the file cannot be opened.
      UserError: the file seems to be DICOM without a preamble, and pydicom is not installed.
    """
    with open(path, "rb") as file:
        head = file.read(_MAGIC_AT + 4)
    if head[_MAGIC_AT:] == b"DICM" or path.lower().endswith(".dcm"):
        return True
    if head[:2] not in _GROUPS or head[2:4] not in _FIRST_ELEMENTS or len(head) < _MAGIC_AT:
        return False
    try:
        data = extra("pydicom").dcmread(path, force=True, stop_before_pixels=True)
        registered = extra("pydicom.uid").UID(data.SOPClassUID).type == "SOP Class"
        return bool(registered and data.Rows and data.Columns)
    except UserError:
        raise
    except Exception:  # on files that are not DICOM, pydicom raises errors of any type
        return False


def read_dicom(path: Path, *, max_pixels: int = MAX_PIXELS) -> Levels:
    """Return the image of a DICOM file.

    The modality LUT, or rescale slope and intercept, is applied to stored values if the file has one. MONOCHROME1, in
    which the lowest value is white, is inverted within the range of the stored bits. The display window is not applied.
    Pixels of the padding value, or within the padding range, are hidden.

    Args:
      path: the path of the file.
      max_pixels: larger images are refused before they are decoded.

    Returns:
      Grey values `[H, W, 1]`, float32 if they were rescaled and integers otherwise; or colours as uint8 `[H, W, 3]`,
      scaled from the range of their bits if that is deeper.

    Raises:
      UserError: the file cannot be read, has several frames or too many pixels, or the extra is not installed.
    """
    return dicom_levels(open_dicom(path, str(path)), str(path), max_pixels=max_pixels)


def dicom_shape(path: Path) -> tuple[int, int, int]:
    """Return `(height, width, channels)` of the image of a DICOM file, from its header alone."""
    data = open_dicom(path, str(path), header=True)
    with decoding(str(path)):
        grey = int(data.get("SamplesPerPixel", 1)) == 1 and data.PhotometricInterpretation != "PALETTE COLOR"
        return int(data.Rows), int(data.Columns), 1 if grey else 3


def open_dicom(source: Path | bytes, name: str, *, header: bool = False) -> Any:
    """Return the data set of a DICOM file, given by its path or bytes, with or without its pixels.

    Args:
      source: the path of the file, or its bytes.
      name: the name of the file in messages.
      header: whether to leave out the pixels.

    Raises:
      UserError: the file cannot be read, is deflated as a whole, or the extra is not installed.
    """
    pydicom = extra("pydicom")
    with decoding(name), io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        # A deflated file would be inflated as a whole before any size in it could be checked.
        head = file.read(1024)
        check(
            _DEFLATED not in head,
            f"The image {name} is deflated as a whole; write it without deflation.",
        )
        file.seek(0)
        try:
            data = pydicom.dcmread(file, force=head[:2] in _GROUPS, stop_before_pixels=header)
        except extra("pydicom.errors").InvalidDicomError as error:  # whose sentence speaks of options of pydicom
            raise UserError(f"The image {name} cannot be read: it is no DICOM file, or is cut off.") from error
        if "TransferSyntaxUID" not in data.file_meta:  # no preamble; pydicom has detected the encoding
            uid = extra("pydicom.uid")
            data.file_meta.TransferSyntaxUID = (
                uid.ImplicitVRLittleEndian if data.original_encoding[0] else uid.ExplicitVRLittleEndian
            )
        return data


def dicom_levels(dataset: Any, name: str, *, max_pixels: int = MAX_PIXELS) -> Levels:
    """Return the image of a DICOM data set, as `read_dicom` does."""
    pixels = extra("pydicom.pixels")
    with decoding(name):
        check("PixelData" in dataset, f"The DICOM file {name} holds no image.")
        frames = int(dataset.get("NumberOfFrames") or 1)
        sentence = f"The image {name} has {frames} frames; split it into files of one frame each."
        require(frames == 1, "several frames", sentence)
        check_size((int(dataset.Rows), int(dataset.Columns)), name, max_pixels)
        colours = str(dataset.PhotometricInterpretation)
        stored = pixels.pixel_array(dataset)  # pydicom converts YBR to RGB
        bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
        if colours == "PALETTE COLOR":
            stored, bits = pixels.apply_color_lut(stored, dataset), dataset.RedPaletteColorLookupTableDescriptor[2]
        if stored.ndim == 3:
            return Levels(_colours(stored[..., :3], bits))
        check(
            colours in ("MONOCHROME1", "MONOCHROME2"),
            f"The image {name} has the unknown photometric interpretation {colours}.",
        )
        hidden = _padding(dataset, stored)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if colours == "MONOCHROME1":
            stored = (low + high - stored.astype(np.int64)).astype(stored.dtype)
        if "ModalityLUTSequence" in dataset:
            values = pixels.apply_modality_lut(stored, dataset)
            return Levels(values.astype(np.float32)[..., None], hidden=hidden)
        slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
        if (slope, intercept) != (1, 0):
            stored = pixels.apply_modality_lut(stored, dataset).astype(np.float32)
        ends = sorted(slope * end + intercept for end in (low, high))
        return Levels(stored[..., None], (ends[0], ends[1]), hidden)


def _colours(stored: np.ndarray, bits: int) -> np.ndarray:
    """Return colours as uint8, scaled from the range of their bits."""
    if stored.dtype == np.uint8 and bits == 8:
        return stored
    return np.rint(stored.astype(np.float64) * (255 / ((1 << bits) - 1))).astype(np.uint8)


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray | None:
    """Return the mask of padding pixels, outside of the acquired image; None if there are none."""
    if (value := dataset.get("PixelPaddingValue")) is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    # Many writers store both limits unsigned even if pixels are signed, so both are cast to the type of the pixels.
    ends = np.array([value, value if limit is None else limit], np.int64).astype(stored.dtype)
    hidden = (stored >= ends.min()) & (stored <= ends.max())
    return hidden if hidden.any() else None
