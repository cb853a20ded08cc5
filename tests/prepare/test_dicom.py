"""DICOM files by their content, and their grey levels, padding, colours and compressions against a plain reading."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.dicom import is_dicom
from mmcl_jax.prepare.images.files import Fit, read_image, read_shape
from mmcl_jax.prepare.images.unusable import Unusable
from tests.prepare.test_medical import dicom, nifti

pydicom = pytest.importorskip("pydicom")
SHAPE = (12, 10)
SHARE = np.random.default_rng(0).permutation(np.linspace(0, 1, 120)).reshape(SHAPE)


def read(path: Path, channels: int = 1, **fit: object) -> np.ndarray:
    assert read_shape(str(path)) == (*SHAPE, channels)
    found, size = read_image(str(path), (*SHAPE, channels), Fit(**fit))  # type: ignore[arg-type]
    assert size == SHAPE
    return found if channels == 3 else found[..., 0]


def mapped(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(255 * np.clip((values.astype(np.float64) - low) / (high - low), 0, 1))


@pytest.mark.core
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("allocated", "stored"), [(8, 8), (8, 6), (16, 12), (16, 16)])
def test_grey_levels(tmp_path: Path, photometric: str, signed: bool, allocated: int, stored: int) -> None:
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    levels = np.rint(low + (0.1 + 0.7 * SHARE) * (high - low)).astype(int)
    bits = {
        "BitsAllocated": allocated, "BitsStored": stored, "HighBit": stored - 1, "PixelRepresentation": int(signed),
        "PhotometricInterpretation": photometric,
    }  # fmt: skip
    padding = low  # a level that the image itself does not have
    for slope, window, padded in itertools.product((1, 2.5), (False, True), (None, "value", "range")):
        values = levels.copy()
        hidden = np.zeros(SHAPE, bool)
        if padded:
            hidden[2:5, 3:7] = True
            values[hidden] = padding
            bits["PixelPaddingValue"] = padding
        if padded == "range":
            values[2, 3] = padding + 1
            bits["PixelPaddingRangeLimit"] = padding + 1
        pixels = values.astype(f"{'i' if signed else 'u'}{allocated // 8}")
        extra = {"RescaleSlope": slope, "RescaleIntercept": -7} if slope != 1 else {}
        extra |= {"WindowCenter": high // 2, "WindowWidth": 3} if window else {}  # not applied
        path = dicom(tmp_path / "x.dcm", pixels, **bits, **extra)
        upright = low + high - values if photometric == "MONOCHROME1" else values
        real = upright * slope - 7 if slope != 1 else upright
        ends = (low * slope - 7, high * slope - 7) if slope != 1 else (low, high)
        shown = real[~hidden]
        narrow = float(np.quantile(shown, 0.2)), float(np.quantile(shown, 0.6))
        for intensity, bounds in {"minmax": (shown.min(), shown.max()), "full": ends, narrow: narrow}.items():
            whole = (allocated, stored, signed, slope, padded) == (
                8,
                8,
                False,
                1,
                None,
            )  # plain 8 bits stay as they are
            expected = real if whole else np.where(hidden, 0, mapped(real, *bounds))
            assert np.abs(read(path, intensity=intensity).astype(float) - expected).max() <= (slope != 1)
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
            bits.pop(name, None)


def test_padding_with_the_other_sign_and_padding_everywhere(tmp_path: Path) -> None:
    pixels = np.rint(1000 * SHARE).astype(np.uint16)
    pixels[:3] = 63_536  # -2000 as 16 unsigned bits
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    path = dicom(tmp_path / "x.dcm", pixels, **bits)
    data = pydicom.dcmread(path)
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.save_as(path)
    np.testing.assert_array_equal(read(path)[3:], mapped(pixels[3:], pixels[3:].min(), pixels[3:].max()))
    assert not read(path)[:3].any()
    everywhere = dicom(tmp_path / "y.dcm", np.full(SHAPE, 5, np.uint16), **bits, PixelPaddingValue=5)
    assert not read(everywhere).any()


def test_one_bit(tmp_path: Path) -> None:
    mask = SHARE > 0.5
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    packed = np.packbits(mask, bitorder="little")
    path = dicom(tmp_path / "x.dcm", mask, **bits, PixelData=packed.tobytes() + bytes(len(packed) % 2))
    np.testing.assert_array_equal(read(path), 255 * mask)


def test_colours(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (*SHAPE, 3), np.uint8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    path = dicom(tmp_path / "x.dcm", rgb, PhotometricInterpretation="RGB", **eight)
    np.testing.assert_array_equal(read(path, 3), rgb)
    deep = rgb.astype(np.uint16) * 257
    path = dicom(tmp_path / "x.dcm", deep, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0,
                 BitsStored=16, HighBit=15)  # fmt: skip
    np.testing.assert_array_equal(read(path, 3), rgb)
    y, b, r = (rgb[..., place].astype(float) - 128 * (place > 0) for place in range(3))
    expected = np.clip(np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=2), 0, 255)
    path = dicom(tmp_path / "x.dcm", rgb, PhotometricInterpretation="YBR_FULL", **eight)
    assert np.abs(read(path, 3) - expected).max() <= 1
    palette = rng.integers(0, 256, (256, 3))
    for depth in (8, 16):
        luts = palette.astype(np.uint8) if depth == 8 else palette.astype("<u2") * 257
        names = ("Red", "Green", "Blue")
        tables = {f"{name}PaletteColorLookupTableData": luts[:, place].tobytes() for place, name in enumerate(names)}
        tables |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, depth] for name in names}
        path = dicom(tmp_path / "x.dcm", rgb[..., 0], PhotometricInterpretation="PALETTE COLOR", BitsAllocated=8,
                     BitsStored=8, HighBit=7, **tables)  # fmt: skip
        np.testing.assert_array_equal(read(path, 3), palette[rgb[..., 0]])


@pytest.mark.core
@pytest.mark.parametrize("name", ["IM0001", "x.ima", "x.dicom", "x.DCM", "x.png", "1.2.840.113619"])
def test_dicom_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    pixels = np.rint(4000 * SHARE).astype(np.uint16)
    np.testing.assert_array_equal(read(dicom(tmp_path / name, pixels)), mapped(pixels, 0, 4000))


@pytest.mark.parametrize("implicit", [False, True])
def test_dicom_without_a_preamble(tmp_path: Path, implicit: bool) -> None:
    pixels = np.rint(4000 * SHARE).astype(np.uint16)
    data = pydicom.dcmread(dicom(tmp_path / "whole.dcm", pixels))
    (tmp_path / "group2").write_bytes((tmp_path / "whole.dcm").read_bytes()[132:])
    del data.file_meta
    data.save_as(tmp_path / "bare", implicit_vr=implicit, little_endian=True)
    for name in ("group2", "bare"):
        np.testing.assert_array_equal(read(tmp_path / name), mapped(pixels, 0, 4000))


def test_what_is_not_dicom(tmp_path: Path) -> None:
    """Targa files begin with two free bytes, so they may look like the group of a DICOM element."""
    from PIL import Image

    pixels = np.rint(255 * SHARE).astype(np.uint8)
    for length, start in ((2, b"\2\0"), (8, b"\x08\0")):
        path = tmp_path / f"{length}.tga"
        Image.fromarray(pixels).save(path, id_section=b"x" * length)
        assert path.read_bytes().startswith(start)
        np.testing.assert_array_equal(read(path), pixels)
    for content in (b"\x08\0\x08\0" + b"CS" * 100, b"\2\0\0\0UL\4\0" + bytes(200), b"", b"DICM"):
        (tmp_path / "x").write_bytes(content)
        assert not is_dicom(str(tmp_path / "x"))
        with pytest.raises(Unusable, match="its format is unknown"):
            read_image(str(tmp_path / "x"), (*SHAPE, 1), Fit())


@pytest.mark.core
@pytest.mark.parametrize(
    "syntax",
    ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "RLELossless"],
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_compressions(tmp_path: Path, syntax: str, bits: int) -> None:
    gdcm = pytest.importorskip("gdcm")
    pixels = np.rint((2**bits - 1) * SHARE).astype(np.uint8 if bits == 8 else np.uint16)
    size = {"BitsAllocated": 8 * pixels.itemsize, "BitsStored": bits, "HighBit": bits - 1}
    plain = dicom(tmp_path / "plain.dcm", pixels, **size)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "IM0001"))
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "IM0001").file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read(tmp_path / "IM0001"), pixels if bits == 8 else mapped(pixels, 0, 2**bits - 1))


def test_sizes_are_looked_at_before_pixels(tmp_path: Path) -> None:
    several = np.stack([SHARE, SHARE]).astype(np.uint16)
    files = {
        "several frames": dicom(tmp_path / "cine", several, Rows=12, Columns=10, NumberOfFrames=2),
        "too large": dicom(tmp_path / "large", SHARE.astype(np.uint16), Rows=12, Columns=10),
    }
    for cause, path in files.items():
        with pytest.raises(Unusable) as error:
            read_image(str(path), (*SHAPE, 1), Fit(max_pixels=119))
        assert error.value.cause == cause
    slices = np.zeros((10, 12, 30), np.int16)
    slices[0, 0] = 1
    volume = nifti(tmp_path / "x.nii", slices)
    assert read_image(str(volume), (*SHAPE, 1), Fit(max_pixels=120))[0][0, 0] == 255  # of a volume, the slice counts
    with pytest.raises(Unusable) as error:
        read_image(str(volume), (*SHAPE, 1), Fit(max_pixels=119))
    assert error.value.cause == "too large"


@pytest.mark.parametrize("content", [b"", b"no dicom" * 40])
def test_a_file_that_only_its_name_calls_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    """With a sentence of ours: that of pydicom advises an option of its own."""
    path = tmp_path / "scan.dcm"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"The image .*scan\.dcm cannot be read: it is no DICOM file, or is cut off\.$"):
        read_image(str(path), (*SHAPE, 1), Fit())
