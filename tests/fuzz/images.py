"""Images: files of every format that is read, whole and damaged."""

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from mmcl_jax.prepare.images.files import Fit, read_image, read_shape, stored_values
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import damaged, damages

_FORMATS = [("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
_FORMATS += [
    ("jpg", "L"),
    ("jpg", "RGB"),
    ("jpg", "CMYK"),
    ("bmp", "RGB"),
    ("gif", "P"),
    ("webp", "RGB"),
    ("ppm", "RGB"),
]
_FORMATS += [("tif", mode) for mode in ("L", "RGB", "I;16", "F", "CMYK")]
_FORMATS += [("dcm", "L")]


@functools.cache
def _pixels(mode: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if mode in ("I;16", "F"):
        return rng.integers(0, 60_000, (7, 5)).astype(np.uint16 if mode == "I;16" else np.float32)
    return rng.integers(0, 256, (7, 5, 3), np.uint8)


@functools.cache
def _content(ending: str, mode: str) -> bytes:
    if ending == "dcm":
        return _dicom()
    image = Image.fromarray(_pixels(mode))
    if mode not in ("I;16", "F"):
        image = image.convert(mode)
    stream = io.BytesIO()
    kinds = {"jpg": "JPEG", "tif": "TIFF"}
    image.save(stream, kinds.get(ending, ending.upper()))
    return stream.getvalue()


def _dicom() -> bytes:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.Dataset()
    data.file_meta, data.SOPClassUID, data.SOPInstanceUID = meta, SecondaryCaptureImageStorage, "1.2.3"
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 7, 5, 16, 12, 11
    data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = 1, -5, 40, 80
    data.PixelData = (np.arange(35, dtype=np.uint16) * 100).tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def _write(case: dict[str, Any], folder: Path) -> None:
    ending, mode = case["format"]
    (folder / f"image.{ending}").write_bytes(damaged(_content(ending, mode), case["damage"]))


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    path = str(inputs / f"image.{case['format'][0]}")
    fit = Fit(aspect=case["aspect"], intensity=case["intensity"], max_pixels=10_000)
    shape = read_shape(path)
    image, size = read_image(path, (4, 6, shape[2]), fit, dtype=case["dtype"])
    if image.shape != (4, 6, shape[2]) or image.dtype != case["dtype"] or size != shape[:2]:
        raise Wrong(f"an image of {shape} was read as {image.dtype} {image.shape}, from {size}")
    if case["format"] == ("png", "RGB") and not case["damage"] and (stored_values(path, fit) != _pixels("RGB")).any():
        raise Wrong("a PNG of colours has other pixels")


IMAGES = Kind(
    "images",
    st.fixed_dictionaries(
        {
            "format": st.sampled_from(_FORMATS),
            "damage": damages,
            "aspect": st.sampled_from(["stretch", "crop", "pad"]),
            "intensity": st.sampled_from(["minmax", "full", (0.0, 10.0)]),
            "dtype": st.sampled_from(["uint8", "uint16"]),
        }
    ),
    _write,
    _act,
)
