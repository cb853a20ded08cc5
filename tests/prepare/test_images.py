"""Image files of every kind, and hostile ones; how images are made to fit; and decoding that is interrupted."""

import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.decode import CHUNK, THUMB, DecodeJob, decode, thumbnails
from mmcl_jax.prepare.images.files import Fit, locate, read_image, read_shape
from mmcl_jax.prepare.images.levels import to_uint8
from mmcl_jax.prepare.images.unusable import Unusable

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 10, 3), np.uint8)
GREY = COLOUR[..., 0]
X, Y = np.meshgrid(np.arange(200), np.arange(160))
SMOOTH = np.stack([X, Y, (X + Y) // 2], axis=2).astype(np.uint8)


def saved(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def read(path: Path, shape: tuple[int, int, int] = (12, 10, 3), **fit: object) -> np.ndarray:
    return read_image(str(path), shape, Fit(**fit))[0]  # type: ignore[arg-type]


def refused(path: Path, cause: str, *words: str, shape: tuple[int, int, int] = (12, 10, 3), **fit: object) -> None:
    with pytest.raises(Unusable) as error:
        read(path, shape, **fit)
    assert error.value.cause == cause
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def png_of(width: int, height: int) -> bytes:
    """A tiny file whose header claims this size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.core
def test_broken_files(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.jpg", SMOOTH).read_bytes()
    for name, content in {
        "cut.jpg": whole[: len(whole) // 2], "text.png": b"no image at all", "zero.png": b"", "header.png": whole[:3],
        "cut.png": saved(tmp_path / "w.png", COLOUR).read_bytes()[:90], "short.png": png_of(12, 10),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "broken image", name, "cannot be read")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "broken image", "folder.png")
    for name, cause in {"folder.png": "is not a file", "none.png": "does not exist"}.items():
        with pytest.raises(Unusable, match=cause):
            locate(str(tmp_path), name)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Unusable, match="is not a file"):  # opening it would wait forever
        locate(str(tmp_path), "pipe.png")


def test_files_with_random_bytes_changed_never_end_in_another_error(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(1), tmp_path / "x"
    for form in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(COLOUR).save(buffer, form)
        for _ in range(60):
            content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            content[rng.integers(0, len(content), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(content.tobytes())
            for function in (lambda: read(path), lambda: read_shape(str(path))):
                try:
                    function()
                except (Unusable, UserWarning):  # a warning of Pillow's is no error outside of tests
                    continue


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_several_frames(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    saved(tmp_path / "x", frames[0], format=form, save_all=True, append_images=frames[1:])
    refused(tmp_path / "x", "several frames", "has 2 frames; split it")


def test_a_cameras_jpeg_with_a_preview_is_its_first_image(tmp_path: Path) -> None:
    preview = [Image.fromarray(255 - SMOOTH)]
    saved(tmp_path / "x.jpg", Image.fromarray(SMOOTH), format="MPO", save_all=True, append_images=preview)
    assert np.abs(read(tmp_path / "x.jpg", SMOOTH.shape).astype(int) - SMOOTH).mean() < 3


def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    for side in (9_100, 9_500, 14_000, 60_000):
        (tmp_path / "x.png").write_bytes(png_of(side, side))
        refused(tmp_path / "x.png", "too large", "x.png")
    refused(saved(tmp_path / "y.png", COLOUR), "too large", "120 pixels; more than 100 are refused", max_pixels=100)
    (tmp_path / "x.png").write_bytes(png_of(12_000, 12_000))
    begun = psutil.Process().memory_info().rss
    assert read_shape(str(saved(tmp_path / "z.png", COLOUR))) == (12, 10, 3)
    with pytest.raises(Unusable):
        read_shape(str(tmp_path / "x.png"))
    assert psutil.Process().memory_info().rss - begun < 200e6


@pytest.mark.core
def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    image = Image.fromarray(COLOUR)
    np.testing.assert_array_equal(read(saved(path, GREY)), np.stack([GREY] * 3, axis=2))
    np.testing.assert_array_equal(read(path, (12, 10, 1))[..., 0], GREY)
    one_bit = image.convert("1")
    np.testing.assert_array_equal(read(saved(path, one_bit), (12, 10, 1))[..., 0], np.asarray(one_bit) * np.uint8(255))
    palette = image.quantize(16)
    np.testing.assert_array_equal(read(saved(path, palette)), np.asarray(palette.convert("RGB")))
    refused(path, "wrong channels", "has colour (mode P), but the store is grey", shape=(12, 10, 1))
    assert read_shape(str(path)) == (12, 10, 3)
    assert read_shape(str(saved(path, GREY))) == (12, 10, 1)
    cmyk = read(saved(tmp_path / "x.jpg", Image.fromarray(SMOOTH).convert("CMYK"), quality=95), SMOOTH.shape)
    assert np.abs(cmyk.astype(int) - SMOOTH).mean() < 4
    webp = read(saved(tmp_path / "x.webp", image, lossless=True))
    np.testing.assert_array_equal(webp, COLOUR)


def test_transparent_pixels(tmp_path: Path) -> None:
    half = np.where(np.arange(10) < 5, 255, 0).astype(np.uint8) * np.ones((12, 1), np.uint8)
    rgba, la = np.dstack([COLOUR, half]), np.dstack([GREY, half])
    palette = Image.fromarray(COLOUR).quantize(4)
    for mode, image in {"RGBA": Image.fromarray(rgba), "LA": Image.fromarray(la), "P": palette}.items():
        path = saved(tmp_path / f"{mode}.png", image, **({"transparency": 2} if mode == "P" else {}))
        hidden = np.asarray(palette) == 2 if mode == "P" else half == 0
        seen = {"RGBA": COLOUR, "LA": np.dstack([GREY] * 3), "P": np.asarray(palette.convert("RGB"))}[mode]
        for name, value in {"white": 255, "black": 0}.items():
            found = read(path, transparent=name)
            assert (found[hidden] == value).all()
            np.testing.assert_array_equal(found[~hidden], seen[~hidden])
    assert read(tmp_path / "LA.png", (12, 10, 1)).shape == (12, 10, 1)


def test_deeper_pixels(tmp_path: Path) -> None:
    deep = np.rint(np.linspace(1000, 60_000, 120)).reshape(12, 10)
    png = saved(tmp_path / "x.png", deep.astype(np.uint16))
    shape = (12, 10, 1)
    span = np.rint(255 * (deep - 1000) / 59_000)
    np.testing.assert_array_equal(read(png, shape)[..., 0], span)
    np.testing.assert_array_equal(read(png, shape, intensity="full")[..., 0], np.rint(255 * (deep / 65_535)))
    windowed = read(png, shape, intensity=(10_000.0, 20_000.0))[..., 0]
    np.testing.assert_array_equal(windowed == 0, deep < 10_020)
    assert (windowed[deep > 20_000] == 255).all()
    tiff = saved(tmp_path / "x.tif", deep.astype(np.uint16))
    np.testing.assert_array_equal(read(tiff, shape), read(png, shape))
    floats = saved(tmp_path / "f.tif", (deep / 60_000).astype(np.float32))
    assert np.abs(read(floats, shape)[..., 0].astype(int) - span).max() <= 1
    refused(
        floats,
        "broken image",
        'floats, whose type has no range for "full"',
        shape=shape,
        intensity="full",
    )
    deep[0, 0] = np.nan
    refused(saved(tmp_path / "n.tif", deep.astype(np.float32)), "broken image", "not finite", shape=shape)
    assert read_shape(str(png)) == read_shape(str(tiff)) == read_shape(str(floats)) == shape
    signed = np.array([[-32768, 0, 32767]], np.int16)
    np.testing.assert_array_equal(to_uint8(signed, "full"), [[0, 128, 255]])
    np.testing.assert_array_equal(to_uint8(np.full((2, 2), 7, np.uint16), "minmax"), np.zeros((2, 2)))


@pytest.mark.core
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_becomes_upright(tmp_path: Path, turn: int) -> None:
    undo = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ][turn - 1]  # fmt: skip
    stored = Image.fromarray(COLOUR) if undo is None else Image.fromarray(COLOUR).transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / "x.png", stored, exif=exif)
    pixels, size = read_image(str(path), (12, 10, 3), Fit())
    np.testing.assert_array_equal(pixels, COLOUR)
    assert size == (12, 10)
    assert read_shape(str(path)) == (12, 10, 3)
    assert read_shape(str(saved(tmp_path / "x.jpg", stored, exif=exif))) == (12, 10, 3)


def test_orientations_that_are_none(tmp_path: Path) -> None:
    for turn in (0, 9, 77):
        exif = Image.Exif()
        exif[0x0112] = turn
        path = saved(tmp_path / "x.png", COLOUR, exif=exif)
        assert read_image(str(path), (12, 10, 3), Fit())[1] == (12, 10)
        np.testing.assert_array_equal(read(path), COLOUR)
        assert read_shape(str(path)) == (12, 10, 3)


@pytest.mark.core
def test_paths_stay_in_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "out"
    for folder in (root / "deep", outside):
        folder.mkdir(parents=True)
        saved(folder / "x.png", COLOUR)
    (root / "file.png").symlink_to(outside / "x.png")
    (root / "folder").symlink_to(outside)
    (root / "chain.png").symlink_to(root / "file.png")
    (root / "within.png").symlink_to(root / "deep" / "x.png")
    (tmp_path / "root2").mkdir()
    saved(tmp_path / "root2" / "x.png", COLOUR)
    (root / "sibling").symlink_to(tmp_path / "root2")
    absolute = str(root / "deep" / "x.png")
    for name in (
        "../out/x.png", "deep/../../out/x.png", "deep/../deep/x.png", "file.png", "folder/x.png",
        str(outside / "x.png"), str(root / "file.png"), "chain.png", "sibling/x.png", "a\0b.png",
    ):  # fmt: skip
        with pytest.raises(Unusable) as error:
            locate(str(root), name)
        assert error.value.cause == "unsafe path"
    assert locate(str(root), "within.png") == str(root / "within.png")
    assert locate(str(root), absolute) == absolute
    for name in ("a b.png", "größe 猫.png", "line\nbreak.png", "..x.png", "a..b.png"):
        saved(root / name, COLOUR)
        np.testing.assert_array_equal(read(Path(locate(str(root), name))), COLOUR)
    with pytest.raises(Unusable) as error:
        locate(str(root), "no\nfile.png")
    assert r"no\nfile.png does not exist" in str(error.value)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolation at points, with corners that are not aligned, as PyTorch's."""

    def places(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, old - 1), at - low

    (y0, y1, dy), (x0, x1, dx) = places(image.shape[0], height), places(image.shape[1], width)
    image = image.astype(np.float64)
    rows = image[y0] * (1 - dy)[:, None, None] + image[y1] * dy[:, None, None]
    return rows[:, x0] * (1 - dx)[:, None] + rows[:, x1] * dx[:, None]


def test_resizing_with_and_without_antialiasing(tmp_path: Path) -> None:
    noise = RNG.integers(0, 256, (64, 48, 3), np.uint8)
    path = saved(tmp_path / "x.png", noise)
    for shape in ((17, 13, 3), (32, 24, 3), (100, 99, 3)):
        found = read(path, shape, antialias=False)
        assert np.abs(found - bilinear(noise, *shape[:2])).max() <= 1.01
    coarse = (8, 6, 3)
    means = noise.reshape(8, 8, 6, 8, 3).mean((1, 3))
    smooth, points = read(path, coarse), read(path, coarse, antialias=False)
    assert np.abs(smooth - means).mean() < 12 < np.abs(points - means).mean()
    made = {name: read(path, coarse, resize=name).tobytes() for name in ("nearest", "bilinear", "bicubic", "lanczos")}
    assert len(set(made.values())) == 4
    colours = {tuple(colour) for colour in noise.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in read(path, coarse, resize="nearest").reshape(-1, 3).tolist()} <= colours
    with pytest.raises(UserError, match="lanczos"):
        Fit(resize="lanczos", antialias=False)


def test_aspect(tmp_path: Path) -> None:
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :10], wide[:, 10:30], wide[:, 30:] = 50, 150, 250
    path = saved(tmp_path / "x.png", wide)
    stretched = read(path, (10, 10, 3), resize="nearest")[0, :, 0]
    assert (stretched[:2].tolist(), stretched[3:7].tolist(), stretched[8:].tolist()) == ([50] * 2, [150] * 4, [250] * 2)
    assert (read(path, (10, 10, 3), aspect="crop", resize="nearest") == 150).all()
    padded = read(path, (20, 20, 3), aspect="pad", resize="nearest")
    assert (padded[:5] == 0).all()
    assert (padded[15:] == 0).all()
    assert sorted(set(padded[5:15].ravel().tolist())) == [50, 150, 250]
    for height, width in ((7, 31), (31, 7), (1, 50), (13, 13)):
        assert (read(path, (height, width, 3), aspect="crop") > 0).all()  # no line of black by rounding
        assert read(path, (height, width, 3), aspect="pad").shape == (height, width, 3)


def test_a_jpeg_decoded_at_a_fraction_is_nearly_the_same(tmp_path: Path) -> None:
    large = np.asarray(Image.fromarray(SMOOTH).resize((1600, 1280), Image.Resampling.BICUBIC))
    jpeg, png = saved(tmp_path / "x.jpg", large, quality=95), tmp_path / "x.png"
    saved(png, Image.open(jpeg))
    for aspect in ("stretch", "crop", "pad"):
        found, full = (read(path, (64, 48, 3), aspect=aspect).astype(int) for path in (jpeg, png))
        assert np.abs(found - full).max() <= 6
    assert read_image(str(jpeg), (64, 48, 3), Fit())[1] == (1280, 1600)


def slow_reader(path: Path) -> np.ndarray:
    time.sleep(0.01)
    return np.full((4, 4, 1), int(path.stem) % 256, np.uint8)


def picky_reader(path: Path) -> np.ndarray:
    if path.stem == "1":
        raise UserError(f"The image {path} is of a wrong kind.")
    return np.full((4, 4, 1), int(path.stem), np.uint8) if path.stem != "2" else np.full((4, 4, 1), np.inf)


@pytest.fixture
def many(tmp_path: Path) -> tuple[DecodeJob, list[tuple[str, ...]], Path]:
    """Three chunks of small images, the seventh of which is broken."""
    names = []
    for place in range(2 * CHUNK + 20):
        saved(tmp_path / f"{place}.png", RNG.integers(0, 256, (6, 5), np.uint8))
        names.append((f"{place}.png",))
    (tmp_path / "7.png").write_bytes(b"broken")
    (tmp_path / "to").mkdir()
    return DecodeJob(root=os.path.realpath(tmp_path), shape=(6, 5, 1)), names, tmp_path / "to"


def counted(job: DecodeJob, names: list, to: Path) -> tuple[int, object]:
    """How many rows are decoded, and the result."""
    seen: list[int] = []
    found = decode(job, names, to, progress=seen.append)
    assert seen[-1] == len(names)
    return seen[-1] - seen[0], found


def test_what_is_decoded_and_what_is_told(many) -> None:
    job, names, to = many
    names[3] = ("../secret.png",)
    done, found = counted(job, names, to)
    assert done == len(names)
    assert {row: cause for row, (cause, _) in found.bad.items()} == {3: "unsafe path", 7: "broken image"}
    assert found.sizes == {(6, 5): len(names) - 2}
    pixels = np.load(to / "image.npy")
    for row in (0, CHUNK, len(names) - 1):
        np.testing.assert_array_equal(pixels[row, ..., 0], np.asarray(Image.open(Path(job.root) / names[row][0])))
    assert not pixels[[3, 7]].any()
    np.testing.assert_array_equal(np.load(to / "thumb.npy"), thumbnails(pixels))
    assert found.sums.tolist() == [zlib.crc32(image.tobytes()) for image in pixels]


@pytest.mark.core
def test_decoding_continues_and_notices_what_has_changed(many) -> None:
    job, names, to = many
    _, first = counted(job, names, to)
    whole = {name: (to / name).read_bytes() for name in ("image.npy", "thumb.npy")}
    assert counted(job, names, to)[0] == 0
    journal = to / "journal.jsonl"
    lines = journal.read_text().splitlines()

    for damage in (lines[0] + "\n" + lines[1][:50], lines[0] + "\n\0\0\0\n", "\xff{]\n" + lines[0] + "\n"):
        journal.write_bytes(damage.encode("latin-1"))
        assert counted(job, names, to)[0] == len(names) - CHUNK
        assert len([json.loads(line.partition(" ")[2]) for line in journal.read_text().splitlines()]) == 3
    for name in whole:
        pixels = np.lib.format.open_memmap(to / name, mode="r+")
        pixels[CHUNK + 1] ^= 1
        pixels.flush()
        assert counted(job, names, to)[0] == CHUNK
        (to / name).unlink()
        assert counted(job, names, to)[0] == len(names)

    saved(Path(job.root) / "7.png", RNG.integers(0, 256, (6, 5), np.uint8))
    done, again = counted(job, names, to)
    assert (done, again.bad) == (CHUNK, {})
    (Path(job.root) / "7.png").write_bytes(b"broken")
    done, again = counted(job, names, to)
    assert (done, again.bad) == (CHUNK, first.bad)
    assert {name: (to / name).read_bytes() for name in whole} == whole


def test_several_images_become_channels_or_views(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (2, 3, 6, 5), np.uint8)
    names = [tuple(f"{row}_{view}.png" for view in range(3)) for row in range(2)]
    for row, view in np.ndindex(2, 3):
        saved(tmp_path / names[row][view], images[row, view])
    for stack, expected in {"channels": np.moveaxis(images, 1, -1), "views": images[..., None]}.items():
        (to := tmp_path / stack).mkdir()
        job = DecodeJob(root=os.path.realpath(tmp_path), shape=(6, 5, 1), stack=stack)
        decode(job, names, to)
        np.testing.assert_array_equal(np.load(to / "image.npy").reshape(expected.shape), expected)
        assert np.load(to / "thumb.npy").shape == (2, THUMB, THUMB)
    (tmp_path / names[1][2]).unlink()
    found = decode(job, names, to)
    assert found.bad[1][0] == "missing image"
    assert not np.load(to / "image.npy").reshape(expected.shape)[1].any()


def test_readers_and_sizes(tmp_path: Path) -> None:
    for place in range(4):
        (tmp_path / f"{place}.raw").touch()
    names = [(f"{place}.raw",) for place in range(4)]
    (to := tmp_path / "to").mkdir()
    found = decode(DecodeJob(root=os.path.realpath(tmp_path), shape=(4, 4, 1), read=picky_reader), names, to)
    assert {row: cause for row, (cause, _) in found.bad.items()} == {1: "broken image", 2: "broken image"}
    assert "is of a wrong kind" in found.bad[1][1]
    assert "not finite" in found.bad[2][1]
    assert np.load(to / "image.npy")[:, 0, 0, 0].tolist() == [0, 0, 0, 3]
    found = decode(DecodeJob(root=os.path.realpath(tmp_path), shape=(4, 4, 3), read=picky_reader), names, to)
    assert found.bad[3][0] == "wrong channels"
    for place, side in enumerate((6, 6, 9)):
        saved(tmp_path / f"{place}.png", np.zeros((side, 5), np.uint8))
    (to := tmp_path / "sizes").mkdir()
    job = DecodeJob(root=os.path.realpath(tmp_path), shape=(6, 5, 1), same_size=True)
    found = decode(job, [(f"{place}.png",) for place in range(3)], to)
    assert {row: cause for row, (cause, _) in found.bad.items()} == {2: "other size"}
    assert found.sizes == {(6, 5): 2, (9, 5): 1}  # the one that is told about, too


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from mmcl_jax.data.engines.engine import Processes
from mmcl_jax.prepare.images.decode import DecodeJob, decode
{imports}
if __name__ == "__main__":
    names = [(f"{{place}}.png",) for place in range({rows})]
    decode(DecodeJob(root={root!r}, shape={shape}{reader}), names, Path({to!r}), engine=Processes(2))
"""


def script(tmp_path: Path, **values: object) -> subprocess.Popen:
    values = {"imports": "", "reader": "", "tests": str(Path(__file__).parent), **values}
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(**values))
    return subprocess.Popen([sys.executable, str(path)])


def test_two_workers_make_the_same_bytes(many, tmp_path: Path) -> None:
    job, names, to = many
    found = decode(job, names, to)
    (other := tmp_path / "other").mkdir()
    child = script(tmp_path, root=job.root, shape=job.shape, rows=len(names), to=str(other))
    assert child.wait(60) == 0
    for name in ("image.npy", "thumb.npy"):
        assert (other / name).read_bytes() == (to / name).read_bytes()
    done, again = counted(job, names, other)
    assert done == 0
    assert (again.bad, again.sizes, again.sums.tolist()) == (found.bad, found.sizes, found.sums.tolist())


def test_workers_go_when_their_parent_is_killed(tmp_path: Path) -> None:
    (to := tmp_path / "to").mkdir()
    rows = 60 * CHUNK
    for place in range(rows):
        (tmp_path / f"{place}.png").touch()
    imports, reader = "from test_images import slow_reader", ", read=slow_reader"
    child = script(
        tmp_path,
        root=os.path.realpath(tmp_path),
        shape=(4, 4, 1),
        rows=rows,
        to=str(to),
        imports=imports,
        reader=reader,
    )
    deadline, journal = time.monotonic() + 60, to / "journal.jsonl"
    while not (journal.is_file() and journal.read_text()):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(child.pid).children(recursive=True)
    assert len(workers) >= 2
    child.kill()
    child.wait()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
