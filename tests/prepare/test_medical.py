"""DICOM and NIfTI files: their values and their orientation, and one sentence for each that cannot be used."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.dicom import read_dicom
from mmcl_jax.prepare.images.files import Fit, read_image
from mmcl_jax.prepare.images.medical import nifti_array, read_nifti

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
PICTURE = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


def dicom(path: Path, pixels: np.ndarray = PICTURE, syntax: str = "1.2.840.10008.1.2.1", **elements: object) -> Path:
    """Writes a DICOM file of 12 stored bits."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.MRImageStorage, "1.2.3"
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, "1.2.3"
    data.Rows, data.Columns, data.SamplesPerPixel = *pixels.shape[:2], 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def nifti(path: Path, values: np.ndarray, slope: float | None = None) -> Path:
    image = nibabel.Nifti1Image(values, np.eye(4))
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)
    return path


def refused(reader, path: Path, *words: str, **options: int) -> None:
    with pytest.raises(UserError) as error:
        reader(path, **options)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.core
def test_dicom_values(tmp_path: Path) -> None:
    plain = read_dicom(dicom(tmp_path / "plain.dcm")).values
    assert plain.dtype == np.uint16
    np.testing.assert_array_equal(plain, PICTURE[..., None])

    rescaled = read_dicom(dicom(tmp_path / "ct.dcm", RescaleSlope=2, RescaleIntercept=-1024)).values
    assert rescaled.dtype == np.float32
    np.testing.assert_array_equal(rescaled[..., 0], PICTURE * 2.0 - 1024)

    inverted = read_dicom(dicom(tmp_path / "x.dcm", PhotometricInterpretation="MONOCHROME1")).values
    np.testing.assert_array_equal(inverted[..., 0], 4095 - PICTURE)
    signed = PICTURE.astype(np.int16) - 500
    options = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 1}
    np.testing.assert_array_equal(read_dicom(dicom(tmp_path / "s.dcm", signed, **options)).values[..., 0], -1 - signed)


def test_dicom_in_colour(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    path = dicom(
        tmp_path / "rgb.dcm", colours, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
        BitsAllocated=8, BitsStored=8, HighBit=7,
    )  # fmt: skip
    np.testing.assert_array_equal(read_dicom(path).values, colours)


def test_dicoms_that_are_refused(tmp_path: Path) -> None:
    several = np.stack([PICTURE, PICTURE])
    path = dicom(tmp_path / "cine.dcm", several, Rows=3, Columns=4, NumberOfFrames=2)
    refused(read_dicom, path, "2 frames")
    refused(read_dicom, dicom(tmp_path / "plain.dcm"), "3 x 4", "10 are refused", max_pixels=10)
    refused(read_dicom, dicom(tmp_path / "claims.dcm", Rows=60000, Columns=60000), "60000 x 60000")
    refused(read_dicom, dicom(tmp_path / "deflated.dcm", syntax="1.2.840.10008.1.2.1.99"), "deflated")
    (tmp_path / "noise.dcm").write_bytes(b"no image" * 100)
    refused(read_dicom, tmp_path / "noise.dcm", "cannot be read")
    whole = (tmp_path / "plain.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-6])
    refused(read_dicom, tmp_path / "cut.dcm", "cannot be read")
    refused(read_dicom, tmp_path / "absent.dcm", "cannot be read")


@pytest.mark.core
def test_nifti_values(tmp_path: Path) -> None:
    volume = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # x, y, z
    flat = read_nifti(nifti(tmp_path / "flat.nii", volume[:, :, 0])).values
    assert flat.shape == (4, 3, 1)
    assert flat.dtype == np.int16
    np.testing.assert_array_equal(flat[..., 0], volume[:, :, 0].T)
    middle = read_nifti(nifti(tmp_path / "volume.nii.gz", volume)).values
    np.testing.assert_array_equal(middle[..., 0], volume[:, :, 2].T)
    with_ones = read_nifti(nifti(tmp_path / "ones.nii.gz", volume[..., None, None])).values
    np.testing.assert_array_equal(with_ones, middle)
    scaled = read_nifti(nifti(tmp_path / "scaled.nii", volume[:, :, 0], slope=0.5)).values
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[..., 0], volume[:, :, 0].T / 2)


def test_niftis_that_are_refused(tmp_path: Path) -> None:
    refused(
        read_nifti, nifti(tmp_path / "cine.nii.gz", np.zeros((3, 4, 5, 2), np.int16)), "4 dimensions", "3 x 4 x 5 x 2"
    )
    refused(read_nifti, nifti(tmp_path / "big.nii", np.zeros((30, 40), np.int16)), "30 x 40", max_pixels=100)
    bad = np.array([[1, np.nan], [0, 1]], np.float32)
    for reader in (nifti_array, lambda path: read_image(str(path), (2, 2, 1), Fit())):
        refused(reader, nifti(tmp_path / "nan.nii", bad), "not finite")
    refused(read_nifti, nifti(tmp_path / "complex.nii", np.zeros((2, 2), np.complex64)), "complex64")
    whole = nifti(tmp_path / "whole.nii.gz", np.random.default_rng(0).integers(0, 99, (30, 30), np.int16)).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    refused(read_nifti, tmp_path / "cut.nii.gz", "cannot be read")
    (tmp_path / "noise.nii").write_bytes(b"no image" * 100)
    refused(read_nifti, tmp_path / "noise.nii", "cannot be read")
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30000, 30000, 100))
    header.set_data_offset(352)
    (tmp_path / "claims.nii").write_bytes(header.binaryblock + bytes(100))
    refused(read_nifti, tmp_path / "claims.nii", "30000 x 30000 x 100")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nifti(tmp_path / "flat.nii", np.zeros((2, 2), np.int16))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(UserError, match=r"mmcl_jax\[medical\]"):
        read_nifti(path)
