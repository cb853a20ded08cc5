"""Whatever the format, mode, depth and orientation: what is stored is what a plain reading of the file says."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from mmcl_jax.prepare.images.files import Fit, read_image, read_shape
from mmcl_jax.prepare.images.unusable import Unusable

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 13, 10
TURNS = tuple(range(1, 9))
Y, X = np.mgrid[:HEIGHT, :WIDTH]
NOISE = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
SMOOTH = np.stack([18 * X + 4 * Y, 15 * Y, 180 - 12 * X], axis=2).astype(np.uint8)
PALETTE = RNG.integers(0, 256, (256, 3), np.uint8)
LAB = np.stack([60 + 10 * X + 4 * Y, X - Y, 2 * Y - X], axis=2).astype(np.uint8)  # a* and b* are signed
DEEP = np.rint(np.linspace(1000, 60_000, HEIGHT * WIDTH)).reshape(HEIGHT, WIDTH)[:, ::-1]


# The reference.


def as_stored(upright: np.ndarray, turn: int) -> np.ndarray:
    """The array that a file holds whose EXIF orientation is `turn`."""
    across = upright.swapaxes(0, 1)
    return {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: across, 6: across[::-1], 7: across[::-1, ::-1], 8: across[:, ::-1],
    }[turn]  # fmt: skip


def shown(mode: str, array: np.ndarray) -> np.ndarray:
    """Red, green and blue of an upright array, float, on white."""
    a = array.astype(np.float64)
    if mode in ("1", "L"):
        return np.repeat(a[..., None] * (255 if mode == "1" else 1), 3, axis=2)
    if mode in ("LA", "RGBA", "PA"):
        colour = PALETTE[array[..., 0]].astype(np.float64) if mode == "PA" else a[..., :-1]
        share = a[..., -1:] / 255
        return np.broadcast_to(colour * share + 255 * (1 - share), (*array.shape[:2], 3))
    if mode == "P":
        return PALETTE[array].astype(np.float64)
    if mode == "CMYK":
        return (255 - a[..., :3]) * (255 - a[..., 3:]) / 255
    if mode == "YCbCr":
        y, b, r = a[..., 0], a[..., 1] - 128, a[..., 2] - 128
        return np.clip(np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=2), 0, 255)
    if mode == "LAB":
        f = (a[..., 0] / 2.55 + 16) / 116
        red_green, yellow_blue = (array[..., place].astype(np.int8) for place in (1, 2))
        f = np.stack([f + red_green / 500, f, f - yellow_blue / 200], axis=2)
        xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * [0.9642, 1, 0.8249]
        to_srgb = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])  # D50
        linear = np.clip(xyz @ to_srgb.T, 0, 1)
        return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert mode == "RGB"
    return a


def mapped(values: np.ndarray, low: float, high: float, *, inverted: bool = False) -> np.ndarray:
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(255 * (1 - share if inverted else share))[..., None]


def shrunk(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mean of each axis under a triangle as wide as two output pixels."""

    def weights(old: int, new: int) -> np.ndarray:
        scale = old / new
        distance = np.abs(np.arange(old) + 0.5 - (np.arange(new)[:, None] + 0.5) * scale) / scale
        triangle = np.maximum(1 - distance, 0)
        return triangle / triangle.sum(axis=1, keepdims=True)

    by_rows, by_columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum("hy,wx,yxc->hwc", by_rows, by_columns, image)


def check(path: Path, expected: np.ndarray, *, off: float = 0, **fit: object) -> None:
    """The file is read as expected: its shape, its pixels, and its pixels at another size."""
    channels = expected.shape[2]
    for shape in ((HEIGHT, WIDTH), (6, 5)):
        found, size = read_image(str(path), (*shape, channels), Fit(**fit))  # type: ignore[arg-type]
        assert size == (HEIGHT, WIDTH)
        wanted = expected if shape == size else shrunk(np.rint(expected), *shape)
        assert np.abs(found - wanted).max() <= off + (shape != size)
    assert read_shape(str(path))[:2] == (HEIGHT, WIDTH)


# Files that Pillow writes.

ARRAYS = {
    "1": NOISE[..., 0] > 127, "L": NOISE[..., 0], "LA": NOISE[..., :2], "P": NOISE[..., 0], "PA": NOISE[..., :2],
    "RGB": NOISE[..., :3], "RGBA": NOISE, "CMYK": NOISE, "YCbCr": NOISE[..., :3], "LAB": LAB,
}  # fmt: skip
PLAIN = ("1", "L", "P", "RGB")
TURNED = {
    "TIFF": (*ARRAYS,), "TIFF tiff_lzw": (*ARRAYS,), "TIFF tiff_adobe_deflate": (*ARRAYS,),
    "PNG": (*PLAIN, "LA", "RGBA"), "WEBP": ("RGB", "RGBA"),
}  # fmt: skip
ONCE = {
    "JPEG2000": ("L", "LA", "RGB", "RGBA"), "BMP": PLAIN, "DIB": PLAIN, "TGA": (*PLAIN, "LA", "RGBA"), "PCX": PLAIN,
    "PPM": ("1", "L", "RGB"), "SGI": ("L", "RGB", "RGBA"), "QOI": ("RGB", "RGBA"), "DDS": ("L", "LA", "RGB", "RGBA"),
    "IM": (*PLAIN, "LA", "RGBA", "CMYK", "YCbCr"), "GIF": ("P",), "MSP": ("1",), "XBM": ("1",),
}  # fmt: skip
TOLERANCE = {"LA": 1, "RGBA": 1, "PA": 1, "CMYK": 1, "YCbCr": 2, "LAB": 2}


def pillow_image(mode: str, array: np.ndarray) -> Image.Image:
    if mode == "1":
        return Image.fromarray(array)
    image = Image.frombytes(mode, (array.shape[1], array.shape[0]), np.ascontiguousarray(array).tobytes())
    if mode in ("P", "PA"):
        image.putpalette(PALETTE.tobytes())
    return image


def turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def write(path: Path, form: str, mode: str, turn: int, **options: object) -> Path:
    name, _, compression = form.partition(" ")
    options |= {"exif": turned(turn)} if turn > 1 else {}
    options |= {"compression": compression} if compression else {}
    options |= {"lossless": True, "exact": True} if name == "WEBP" else {}
    pillow_image(mode, as_stored(ARRAYS[mode], turn)).save(path, name, **options)
    return path


@pytest.mark.core
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("form", TURNED)
def test_every_mode_in_every_orientation(tmp_path: Path, form: str, turn: int) -> None:
    for mode in TURNED[form]:
        path = write(tmp_path / mode, form, mode, turn)
        check(path, shown(mode, ARRAYS[mode]), off=TOLERANCE.get(mode, 0))
        grey = mode in ("1", "L", "LA")
        assert read_shape(str(path))[2] == (1 if grey else 3)
        if grey:
            check(path, shown(mode, ARRAYS[mode])[..., :1], off=TOLERANCE.get(mode, 0))


@pytest.mark.parametrize("form", ONCE)
def test_every_mode_of_formats_without_orientation(tmp_path: Path, form: str) -> None:
    for mode in ONCE[form]:
        check(write(tmp_path / mode, form, mode, 1), shown(mode, ARRAYS[mode]), off=TOLERANCE.get(mode, 0))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("form", ["JPEG", "MPO", "AVIF"])
def test_lossy_formats_in_every_orientation(tmp_path: Path, form: str, turn: int) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    modes = ("RGB",) if form == "AVIF" else ("RGB", "L", "CMYK")
    for mode, large in itertools.product(modes, (False, True)):
        upright = np.kron(SMOOTH, np.ones((16, 16, 1), np.uint8)) if large else SMOOTH  # large ones are drafted
        array = {"RGB": upright, "L": upright[..., 0], "CMYK": np.dstack([upright, upright[..., 0] // 4])}[mode]
        path = tmp_path / f"{mode}{large}"
        options = {} if form == "AVIF" else {"subsampling": 0}
        pillow_image(mode, as_stored(array, turn)).save(path, form, quality=100, exif=turned(turn), **options)
        found, size = read_image(str(path), (HEIGHT, WIDTH, 3), Fit())
        assert size == upright.shape[:2] == read_shape(str(path))[:2]
        assert np.abs(found - shrunk(shown(mode, array), HEIGHT, WIDTH)).mean() < 4


@pytest.mark.parametrize("turn", TURNS)
def test_one_transparent_colour_in_every_orientation(tmp_path: Path, turn: int) -> None:
    for mode, clear in {"P": 7, "L": 7, "RGB": (1, 2, 3)}.items():
        array = ARRAYS[mode].copy()
        array[2:5, 3:6] = clear
        path = tmp_path / f"{mode}.png"
        pillow_image(mode, as_stored(array, turn)).save(path, transparency=clear, exif=turned(turn))
        hidden = (array == clear) if mode != "RGB" else (array == clear).all(axis=2)
        for name, value in {"white": 255, "black": 0}.items():
            check(path, np.where(hidden[..., None], value, shown(mode, array)), transparent=name)


# Deep pixels. Pillow cannot write all of these, so the files are written here.

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(values: np.ndarray, *, order: str = "<", turn: int = 1, photometric: int = 1, deflated: bool = False) -> bytes:
    """A TIFF file of one strip."""
    height, width = values.shape
    content = values.astype(values.dtype.newbyteorder(order)).tobytes()
    content = zlib.compress(content) if deflated else content
    tags = {
        256: width, 257: height, 258: 8 * values.dtype.itemsize, 259: 8 if deflated else 1, 262: photometric, 273: 0,
        274: turn, 277: 1, 278: height, 279: len(content), 339: _FORMATS[values.dtype.kind],
    }  # fmt: skip
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(tags)) + entries + struct.pack(f"{order}I", 0)
    return head + content


def spread(kind: str) -> np.ndarray:
    """Values over most of a type's range, none of which is its end."""
    if kind == "float32":
        return (DEEP / 60_000 - 0.3).astype(np.float32)
    ends = np.iinfo(kind)
    share = DEEP / 64_000
    return np.rint(ends.min + share * (float(ends.max) - ends.min)).astype(kind)


@pytest.mark.core
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
def test_deep_tiffs_of_every_type(tmp_path: Path, order: str, turn: int, deflated: bool) -> None:
    for kind, photometric in itertools.product(TYPES, (0, 1)):
        values, path = spread(kind), tmp_path / f"{kind}{photometric}.tif"
        how = {"order": order, "turn": turn, "photometric": photometric, "deflated": deflated}
        path.write_bytes(tiff(as_stored(values, turn), **how))
        inverted = photometric == 0
        low, high = float(values.min()), float(values.max())
        if kind == "uint8":
            check(path, (255 - values if inverted else values)[..., None])
            continue
        check(path, mapped(values, low, high, inverted=inverted))
        middle = low + (high - low) / 4, low + (high - low) / 2
        check(path, mapped(values, *middle, inverted=inverted), intensity=middle)
        if kind != "float32":
            ends = np.iinfo(kind)
            check(path, mapped(values, ends.min, ends.max, inverted=inverted), intensity="full")


def test_deep_pixels_of_other_formats(tmp_path: Path) -> None:
    values = spread("uint16")
    files: dict[str, tuple[float, float]] = {}
    for form in ("PNG", "TIFF", "TIFF tiff_lzw", "JPEG2000", "ICO", "IM", "PPM"):
        name, _, compression = form.partition(" ")
        options = {"compression": compression} if compression else {}
        options |= {"sizes": [(WIDTH, HEIGHT)]} if name == "ICO" else {}
        Image.fromarray(values).save(tmp_path / form, name, **options)
        files[form] = 0, 65_535
    rows = " ".join(map(str, (values // 16).ravel()))
    (tmp_path / "PPM of 12 bits").write_text(f"P2 {WIDTH} {HEIGHT} 4095 {rows}")
    for form, ends in files.items():
        check(tmp_path / form, mapped(values, float(values.min()), float(values.max())))
        check(tmp_path / form, mapped(values, *ends), intensity="full")
    check(tmp_path / "PPM of 12 bits", mapped(values // 16, 0, 4095), intensity="full", off=1)
    Image.fromarray(spread("float32")).save(tmp_path / "floats", "PPM")
    check(
        tmp_path / "floats", mapped(spread("float32"), *np.float64([spread("float32").min(), spread("float32").max()]))
    )


@pytest.mark.parametrize("turn", TURNS)
def test_a_transparent_level_of_16_bits_does_not_set_the_range(tmp_path: Path, turn: int) -> None:
    values = spread("uint16")
    low, high = float(values.min()), float(values.max())
    values[3:6, 2:5] = 0
    Image.fromarray(as_stored(values, turn)).save(tmp_path / "x.png", transparency=0, exif=turned(turn))
    for name, value in {"white": 255, "black": 0}.items():
        expected = np.where((values == 0)[..., None], value, mapped(values, low, high))
        check(tmp_path / "x.png", expected, transparent=name)


def test_values_that_are_not_finite_are_background_where_that_is_said(tmp_path: Path) -> None:
    values = spread("float32")
    low, high = float(values.min()), float(values.max())
    values[2, 3], values[4, 5], values[6, 7] = np.nan, np.inf, -np.inf
    for photometric in (0, 1):
        (tmp_path / "x.tif").write_bytes(tiff(values, photometric=photometric))
        with pytest.raises(Unusable, match="not finite; --nan background makes those pixels black"):
            read_image(str(tmp_path / "x.tif"), (HEIGHT, WIDTH, 1), Fit())
        shades = mapped(np.nan_to_num(values), low, high, inverted=photometric == 0)
        check(tmp_path / "x.tif", np.where(np.isfinite(values)[..., None], shades, 0), nan="background")
    (tmp_path / "x.tif").write_bytes(tiff(np.full((HEIGHT, WIDTH), np.nan, np.float32)))
    check(tmp_path / "x.tif", np.zeros((HEIGHT, WIDTH, 1)), nan="background")


def test_a_large_deep_image_is_mapped_in_parts(tmp_path: Path) -> None:
    values = np.arange(700 * 4, dtype=np.uint16).reshape(700, 4)
    Image.fromarray(values).save(tmp_path / "x.png")
    found = read_image(str(tmp_path / "x.png"), (700, 4, 1), Fit())[0]
    np.testing.assert_array_equal(found, mapped(values, 0, 2799))


def test_the_same_image_in_two_formats_is_one_image(tmp_path: Path) -> None:
    """So duplicates, near ones and the card's images are compared upright."""
    found = set()
    for form, turn in itertools.product(("TIFF", "PNG", "TIFF tiff_lzw"), TURNS):
        path = write(tmp_path / "x", form, "L", turn)
        found.add(read_image(str(path), (HEIGHT, WIDTH, 1), Fit())[0].tobytes())
    assert len(found) == 1
