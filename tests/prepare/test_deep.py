"""Pixels of 16 bits and volumes: without loss, in order, and refused where something would be lost."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.files import Fit, read_image, scale_and_shift
from mmcl_jax.prepare.images.levels import Levels, to_uint16
from mmcl_jax.prepare.images.masks.read import read_mask
from mmcl_jax.prepare.images.volume import read_volume
from tests.prepare.test_medical import dicom, nifti

SHAPE = (5, 7)
DEEP = np.arange(35, dtype=np.uint16).reshape(SHAPE) * 117  # up to 3978, of 12 bits


def deep_files(folder: Path) -> list[Path]:
    """One image in every format that has 16 bits."""
    Image.fromarray(DEEP).save(folder / "a.png")
    Image.fromarray(DEEP).save(folder / "a.tif")
    Image.fromarray(DEEP).save(folder / "compressed.tif", compression="tiff_lzw")
    Image.fromarray(DEEP.astype(np.float32)).save(folder / "float.tif")
    return [
        *sorted(folder.iterdir()),
        dicom(folder / "a.dcm", DEEP),
        nifti(folder / "a.nii", DEEP.T.copy()),
        nifti(folder / "b.nii.gz", DEEP.T.astype(np.int16)),
    ]


def test_sixteen_bits_are_kept_in_every_format(tmp_path: Path) -> None:
    for path in deep_files(tmp_path):
        made, size = read_image(str(path), (*SHAPE, 1), Fit(), dtype="uint16")
        assert (made.dtype, size) == (np.uint16, SHAPE)
        np.testing.assert_array_equal(made[..., 0], DEEP, err_msg=path.name)


def test_hounsfield_units_are_kept_from_the_lowest_on(tmp_path: Path) -> None:
    """Negative whole numbers need a range, and then lose nothing."""
    path = dicom(tmp_path / "a.dcm", DEEP, RescaleSlope=1, RescaleIntercept=-1024)
    with pytest.raises(UserError, match=r"from -1024 to 2954, and 16 bits hold 0 to 65535; .* --intensity LOW:HIGH"):
        read_image(str(path), (*SHAPE, 1), Fit(), dtype="uint16")
    for intensity in ((-1024, 3071), "full"):
        made, _ = read_image(str(path), (*SHAPE, 1), Fit(intensity=intensity), dtype="uint16")
        np.testing.assert_array_equal(made[..., 0], DEEP)


@settings(max_examples=100, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint16, np.int16, np.int32, np.float32]), (3, 4), elements=st.integers(0, 32_000)
    ),
    st.integers(-500, 500),
)
def test_whole_numbers_lose_nothing(values: np.ndarray, low: int) -> None:
    np.testing.assert_array_equal(to_uint16(values, "minmax"), values)
    shifted = values.astype(np.int64) + low
    np.testing.assert_array_equal(to_uint16(shifted, (low, low + 40_000)), values)
    inverted = to_uint16(Levels(values.astype(np.uint16), full=(0, 40_000), inverted=True), "full")
    np.testing.assert_array_equal(inverted, 40_000 - values.astype(np.int64))


def test_eight_bits_take_the_range_of_sixteen(tmp_path: Path) -> None:
    image = np.arange(35, dtype=np.uint8).reshape(SHAPE)
    Image.fromarray(image).save(tmp_path / "a.png")
    made, _ = read_image(str(tmp_path / "a.png"), (*SHAPE, 1), Fit(), dtype="uint16")
    np.testing.assert_array_equal(made[..., 0], image.astype(np.uint16) * 257)


def test_colours_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    """Pillow has no mode for them and would give 8 bits. The file is written by hand: Pillow cannot."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + np.full((2, 3), 777, ">u2").tobytes() for _ in range(2))
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(UserError, match=r"has colours of 16 bits, .* store it without --bits 16"):
        read_image(str(tmp_path / "a.png"), (2, 2, 3), Fit(), dtype="uint16")
    assert read_image(str(tmp_path / "a.png"), (2, 2, 3), Fit())[0].dtype == np.uint8


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
def test_deep_pixels_are_resized_as_those_of_eight_bits_are(aspect: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 18), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image.astype(np.uint16) * 257).save(tmp_path / "b.png")
    fit = Fit(aspect=aspect)
    shallow, _ = read_image(str(tmp_path / "a.png"), (6, 6, 1), fit)
    deep, _ = read_image(str(tmp_path / "b.png"), (6, 6, 1), fit, dtype="uint16")
    np.testing.assert_allclose(deep / 257, shallow, atol=1.01)  # Pillow rounds 8 bits after each of two passes


def test_volumes_are_read_as_their_slices_are(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 4096, (4, *SHAPE)).astype(np.uint16)
    path = nifti(tmp_path / "a.nii.gz", np.ascontiguousarray(volume.T))
    np.save(tmp_path / "a.npy", volume)
    series = tmp_path / "series"
    series.mkdir()
    for number, place in enumerate((2, 0, 3, 1)):  # in the folder in another order than in the body
        where = {"ImagePositionPatient": [0, 0, 2.5 * place], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        dicom(series / f"{number}.dcm", volume[place], InstanceNumber=number + 1, **where)
    for source in (path, tmp_path / "a.npy", series):
        made, size = read_volume(str(source), (4, *SHAPE, 1), Fit(), "uint16")
        assert size == (4, *SHAPE)
        np.testing.assert_array_equal(made[..., 0], volume, err_msg=source.name)
    middle, _ = read_image(str(path), (*SHAPE, 1), Fit(), dtype="uint16")
    np.testing.assert_array_equal(middle[..., 0], volume[2])
    dicom(series / "again.dcm", volume[3], ImagePositionPatient=[0, 0, 7.5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    with pytest.raises(UserError, match=r"has two slices at position 7.5; give each series its own folder"):
        read_volume(str(series), (4, *SHAPE, 1), Fit(), "uint16")


def test_volumes_of_floats(tmp_path: Path) -> None:
    """float16 holds the values; channels are a fourth axis; another size is interpolated."""
    values = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    made, size = read_volume(str(tmp_path / "a.nii"), (5, 4, 3, 2), Fit(), "float16")
    assert size == (5, 4, 3)
    np.testing.assert_array_equal(made, values.transpose(2, 1, 0, 3).astype(np.float16))
    ramp = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((8, 4, 4), np.float32)
    np.save(tmp_path / "b.npy", ramp)
    small, _ = read_volume(str(tmp_path / "b.npy"), (4, 2, 2, 1), Fit(antialias=False), "float16")
    np.testing.assert_allclose(small[:, 0, 0, 0], [0.5, 2.5, 4.5, 6.5])
    np.save(tmp_path / "c.npy", ramp * 1e5)
    with pytest.raises(UserError, match="beyond 65504, the largest of float16"):
        read_volume(str(tmp_path / "c.npy"), (8, 4, 4, 1), Fit(), "float16")
    np.save(tmp_path / "d.npy", np.array([[1, None]], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"cannot be read: .*Python objects in dtype"):
        read_volume(str(tmp_path / "d.npy"), (8, 4, 4, 1), Fit(), "float16")


def test_masks_keep_their_values(tmp_path: Path) -> None:
    """Of grey images, palettes, single bits and volumes; and none is ever mixed from its neighbours."""
    mask = np.random.default_rng(0).choice([0, 3, 9], (12, 10)).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "grey.png")
    palette = Image.fromarray(mask, "L").convert("P")
    palette.putdata(mask.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    Image.fromarray(mask == 9).save(tmp_path / "bit.png")
    for name in ("grey.png", "palette.png"):
        made, size = read_mask(str(tmp_path / name), (12, 10, 1), Fit())
        np.testing.assert_array_equal(made[..., 0], mask, err_msg=name)
        assert size == (12, 10)
        small, _ = read_mask(str(tmp_path / name), (5, 4, 1), Fit(), (0, 3, 9))
        assert set(np.unique(small)) <= {0, 1, 2}
    np.testing.assert_array_equal(read_mask(str(tmp_path / "bit.png"), (12, 10, 1), Fit())[0][..., 0], mask == 9)
    np.save(tmp_path / "volume.npy", np.stack([mask, mask]))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "volume.npy"), (2, 12, 10, 1), Fit())[0][1, ..., 0], mask)
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (12, 10, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match=r"colour.png has colours; each pixel must have one value"):
        read_mask(str(tmp_path / "colour.png"), (12, 10, 1), Fit())


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("size", "stored"), [((12, 24), (6, 6)), ((20, 10), (5, 15)), ((7, 9), (7, 9))])
def test_boxes_are_where_their_pixels_are(aspect: str, size: tuple, stored: tuple, tmp_path: Path) -> None:
    """A bright rectangle is made to fit; where its box goes by `scale_and_shift`, the stored image is bright."""
    box = np.array([size[1] // 4, size[0] // 4, 3 * size[1] // 4, 3 * size[0] // 4])
    image = np.zeros(size, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    fit = Fit(aspect=aspect, resize="nearest")
    made = read_image(str(tmp_path / "a.png"), (*stored, 1), fit)[0][..., 0]
    scale, shift = scale_and_shift(size, stored, fit)
    left, top, right, bottom = np.clip(box * [*scale, *scale] + [*shift, *shift], 0, [*stored[::-1]] * 2)
    rows, columns = np.nonzero(made)
    np.testing.assert_allclose(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [left, top, right, bottom], atol=1
    )
