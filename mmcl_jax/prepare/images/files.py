"""Reading image files: their paths, their formats, and how they are fitted to one shape and type."""

import contextlib
import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.dicom import dicom_shape, is_dicom, read_dicom
from mmcl_jax.prepare.images.levels import Intensity, Levels, Nan, keep_order, levels_of, to_uint8, to_uint16
from mmcl_jax.prepare.images.medical import nifti_shape, read_nifti
from mmcl_jax.prepare.images.unusable import Unusable, require
from mmcl_jax.text import words_of

Reader = Callable[[Path], np.ndarray]  # raises `UserError`
Shape = tuple[int, int, int]
# What several images of a row become; of "varying" views, a row may have fewer than others.
Stack = Literal["channels", "views", "varying"]

_MODES = {1: "L", 3: "RGB"}
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
FILTERS = tuple(_FILTERS)
_NIFTI = (".nii", ".nii.gz")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """How images of any kind are fitted to the stored shape and type.

    Attributes:
      resize: the filter, one of `FILTERS`.
      antialias: whether shrinking averages over all pixels; if not, values are interpolated at points, as torchvision
        did on tensors before 0.17.
      aspect: "stretch" scales to the stored size; "crop" scales until the image covers that size, and takes the
        middle; "pad" scales until the image lies within it, and adds black.
      transparent: the background of transparent pixels, "white" or "black".
      intensity: how pixels deeper than 8 bits become 8 bits: "minmax" maps each image's own range onto 0-255, "full"
        the range of its type, and (low, high) that range; values beyond it become 0 or 255. Colours of 16 bits are
        always mapped as by "full".
      equalise: whether the histogram of each image (of each of its channels) is equalised before it is resized.
      nan: "refuse" refuses an image with values that are not finite; "background" makes those pixels black.
      max_pixels: images with more pixels are refused before they are decoded; in a NIfTI volume, this counts one slice.
      max_voxels: volumes with more voxels are refused before they are decoded.
    """

    resize: str = "bilinear"
    antialias: bool = True
    aspect: Literal["stretch", "crop", "pad"] = "stretch"
    transparent: Literal["white", "black"] = "white"
    intensity: Intensity = "minmax"
    equalise: bool = False
    nan: Nan = "refuse"
    max_pixels: int = 80_000_000
    max_voxels: int = 1 << 28

    def __post_init__(self) -> None:
        """Raise `UserError` for a filter that needs antialiasing, if that is off."""
        check(
            self.antialias or self.resize != "lanczos",
            "--resize: lanczos needs antialiasing; leave out --no-antialias, or use --resize bicubic.",
        )

    def describe(self) -> str:
        """Return the options in words, as the schema stores them."""
        how = f"{self.resize}, {'antialiased' if self.antialias else 'not antialiased'}"
        return (
            f"resize {how}, aspect ratio {self.aspect}; upright by EXIF; transparent pixels on {self.transparent}; "
            f"deeper than 8 bits: {self.intensity}; values that are not finite: {self.nan}"
            f"{'; histogram equalised' if self.equalise else ''}"
        )


def locate(root: str, name: str, links: str | None = None, *, folders: bool = False) -> str:
    """Return the path of the file `name`, which must lie in `root` when all links are followed.

    Args:
      root: the real path of the image folder.
      name: a path relative to `root`, or an absolute one.
      links: the real path of another folder that links may lead into.
      folders: whether the path may be a folder, such as one with a DICOM series.

    Raises:
      Unusable: the path leaves these folders (being absolute, by `..` or by a link), or does not exist.
    """
    require("\0" not in name, "unsafe path", f"The image path {name!r} holds a zero byte.")
    path = os.path.join(root, name)
    outside = f"The image path {name!r} leaves the image folder {root}"
    require(".." not in name.split("/"), "unsafe path", f"{outside}.")
    folder = _real_folder(os.path.dirname(path))
    named = os.path.join(folder, os.path.basename(path))
    real = os.path.realpath(path) if os.path.islink(path) else named
    if not _lies_in(root, real) and not (links and _lies_in(links, real)):
        # A relative path without ".." can only leave the folder by a link.
        linked = not os.path.isabs(name) or _lies_in(root, named)
        remedy = f"; allow it with --follow-links {os.path.dirname(real)}, or with a folder above that"
        raise Unusable("unsafe path", f"{outside} by a link to {real}{remedy}." if linked else f"{outside}.")
    require(os.path.exists(path), "missing image", f"The image {path} does not exist.")
    require(os.path.isfile(path) or folders, "missing image", f"The image {path} is not a file.")
    return path


_real_folder = functools.lru_cache(maxsize=4096)(os.path.realpath)


def _lies_in(folder: str, path: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def read_shape(path: str, *, read: Reader | None = None) -> Shape:
    """Return `(height, width, channels)` of an upright image from its header alone; palettes have 3 channels.

    Args:
      path: an image file.
      read: the function that reads the file, in place of the readers of this package; it reads all of it.

    Raises:
      Unusable: the file is not a readable image.
    """
    with decoding(path):
        if read is not None:
            height, width, channels = read(Path(path)).shape
            return height, width, channels
        if path.lower().endswith(_NIFTI):
            return nifti_shape(Path(path))
        if is_dicom(path):
            return dicom_shape(Path(path))
        with _opened(path) as image:
            return shape_of_image(image)


def shape_of_image(image: Image.Image) -> Shape:
    """Return `(height, width, channels)` of an opened image, turned upright."""
    # The orientation of a PNG may lie after its pixels, so reading it decodes them; a huge image is spared that.
    small = image.height * image.width <= Fit.max_pixels
    height, width = _upright_size(image, _orientation(image) if small else 1)
    return height, width, 3 if _coloured(image) else 1


def read_image(
    path: str, shape: Shape, fit: Fit, *, read: Reader | None = None, dtype: str = "uint8"
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image `[height, width, channels]` fitted to `shape`, and its upright (height, width) in the file.

    Args:
      path: an image file; DICOM and NIfTI need the extra `medical`.
      shape: the shape to return.
      fit: how the image is fitted to `shape`.
      read: the function that reads the file, in place of the readers of this package.
      dtype: "uint8", or "uint16" by the rules of `to_uint16`.

    Raises:
      Unusable: the file cannot be decoded, has more than `fit.max_pixels`, has several frames, has colour while `shape`
        is grey, or has values that do not fit into `dtype`.
    """
    with decoding(path):
        levels = _read_levels(path, fit, read)
        if levels is not None:
            return fit_levels(levels, path, shape, fit, dtype)
        if Image.MAX_IMAGE_PIXELS and fit.max_pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = fit.max_pixels  # or Pillow warns of images that `max_pixels` allows
        with _opened(path) as image:
            return fit_image(image, path, shape, fit, dtype)


def fit_image(
    image: Image.Image, path: str, shape: Shape, fit: Fit, dtype: str, *, keep: bool = False
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an opened image fitted to `shape`, and its upright (height, width); see `read_image`.

    Args:
      image: an image opened by Pillow.
      path: its name in messages.
      shape: the shape to return.
      fit: how the image is fitted to `shape`.
      dtype: "uint8" or "uint16".
      keep: whether `image` must stay unchanged; otherwise it may be turned, or decoded at a lower resolution.
    """
    height, width, channels = shape
    _check_header(image, path, channels, fit)
    tiles = str([tile.args for tile in getattr(image, "tile", ())])
    truncated = dtype == "uint16" and _coloured(image) and ";16" in tiles
    sentence = f"The image {path} has colours of 16 bits, of which 8 bits can be read; store it without --bits 16."
    require(not truncated, "wrong depth", sentence)
    orientation = _orientation(image)
    original = _upright_size(image, orientation)
    if fit.antialias and fit.resize != "nearest" and image.format == "JPEG" and not (keep or fit.equalise):
        image.draft(None, (2 * max(width, height), 2 * max(width, height)))  # decodes at a half, a quarter or an eighth
    keep_order(image)
    image.load()  # turns a TIFF upright and updates its EXIF, so the next lines do not turn it again
    if not keep:
        ImageOps.exif_transpose(image, in_place=True)
    elif orientation != 1:
        image = ImageOps.exif_transpose(image)
    if dtype == "uint16" and (levels := levels_of(image)):
        values = _mapped(levels, path, fit, dtype)
        return fitted(np.repeat(values[..., None], channels, axis=2), path, shape, fit)
    pixels = _eight_bits(image, path, _MODES[channels], fit)
    pixels = ImageOps.equalize(pixels) if fit.equalise else pixels
    values = np.asarray(_resized(pixels, (width, height), fit)).reshape(shape)
    return values if dtype == "uint8" else values.astype(np.uint16) * np.uint16(257), original


def fit_levels(levels: Levels, path: str, shape: Shape, fit: Fit, dtype: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the values of an image `[H, W, C]` fitted to `shape`, and their original (height, width)."""
    values = _mapped(levels, path, fit, dtype)
    if fit.equalise:
        planes = [
            ImageOps.equalize(Image.fromarray(np.ascontiguousarray(plane))) for plane in np.moveaxis(values, 2, 0)
        ]
        values = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return fitted(values, path, shape, fit)


def _read_levels(path: str, fit: Fit, read: Reader | None) -> Levels | None:
    """Return the values of a file that Pillow does not read; None for a file that it does."""
    if read is not None:
        return Levels(read(Path(path)))
    if path.lower().endswith(_NIFTI):
        return read_nifti(Path(path), max_pixels=fit.max_pixels)
    return read_dicom(Path(path), max_pixels=fit.max_pixels) if is_dicom(path) else None


def fitted(values: np.ndarray, path: str, shape: Shape, fit: Fit) -> tuple[np.ndarray, tuple[int, int]]:
    """Return values `[H, W, C]` of 8 or 16 bits resized to `shape`, and their original (height, width)."""
    height, width, channels = shape
    own = values.shape[2]
    require(own == channels, "wrong channels", f"The image {path} has {own} channels; the store has {channels}.")
    size = values.shape[:2]
    if values.dtype == np.uint16 and size == (height, width):
        return values, size
    deep = values.astype(np.float32) if values.dtype == np.uint16 else values
    planes = [_resized(Image.fromarray(plane), (width, height), fit) for plane in np.moveaxis(deep, 2, 0)]
    resized = np.stack([np.asarray(plane) for plane in planes], axis=2)
    if values.dtype == np.uint16:  # cubic filters go beyond the range
        resized = np.rint(np.clip(resized, 0, np.iinfo(np.uint16).max)).astype(np.uint16)
    return resized, size


def stored_values(path: str, fit: Fit) -> np.ndarray:
    """Return the values of an upright image `[H, W, C]` exactly as its file holds them; palettes as indices.

    Raises:
      Unusable: the file cannot be decoded.
    """
    with decoding(path):
        levels = _read_levels(path, fit, None)
        if levels is not None:
            return levels.values
        with _opened(path) as image:
            _check_header(image, path, 3, fit)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            deep = levels_of(image)
            if deep is not None:
                return deep.values[..., None]
            if image.mode in ("LA", "RGBA"):
                image = image.convert(image.mode[:-1])
            values = np.asarray(image)
            return values[..., None] if values.ndim == 2 else values


def _mapped(levels: Levels, path: str, fit: Fit, dtype: str = "uint8") -> np.ndarray:
    """Return grey levels as 8 or 16 bits; raise `Unusable` for values that do not fit."""
    try:
        return (to_uint8 if dtype == "uint8" else to_uint16)(levels, fit.intensity, nan=fit.nan)
    except ValueError as error:
        raise Unusable("broken image", f"The image {path} cannot be used: {error}.") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """Open an image by Pillow through a file object: given a path, Pillow would map it, and scramble turned TIFFs."""
    with open(path, "rb") as file, Image.open(file) as image:
        yield image


@contextlib.contextmanager
def decoding(path: str) -> Iterator[None]:
    """Turn any error inside into `Unusable` with one sentence; on broken files, Pillow raises errors of many types."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except Unusable:
        raise
    except UserError as error:  # raised by the readers of DICOM and NIfTI, or by a recipe's
        raise Unusable("broken image", str(error)) from error
    except _BOMBS as error:
        refused = f"The image {path} is refused: {words_of(error)}; --max-pixels allows more."
        raise Unusable("too large", refused) from error
    except UnidentifiedImageError as error:
        raise Unusable("broken image", f"The image {path} cannot be read: its format is unknown.") from error
    except Exception as error:
        raise Unusable("broken image", f"The image {path} cannot be read: {words_of(error)}.") from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 is upright, and from 5 on height and width are swapped."""
    orientation = image.getexif().get(0x0112, 1)
    return orientation if orientation in range(1, 9) else 1


def _upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Return height and width of the upright image; for a TIFF, Pillow reports these already."""
    turned = orientation >= 5 and image.format != "TIFF"
    return (image.width, image.height) if turned else (image.height, image.width)


def _coloured(image: Image.Image) -> bool:
    return image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")


def _check_header(image: Image.Image, path: str, channels: int, fit: Fit) -> None:
    """Raise `Unusable` for too many pixels, several frames, or colour where the store is grey."""
    pixels, limit = image.width * image.height, fit.max_pixels
    sentence = f"The image {path} has {pixels:,} pixels; more than {limit:,} are refused; --max-pixels allows more."
    require(pixels <= limit, "too large", sentence)
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's JPEG with a preview behind it
    sentence = f"The image {path} has {frames} frames; split it into files of one frame each."
    require(frames == 1, "several frames", sentence)
    require(
        channels == 3 or not _coloured(image),
        "wrong channels",
        f"The image {path} has colour (mode {image.mode}), but the store is grey; convert it to grey, or prepare the "
        f"store with --channels 3.",
    )


def _eight_bits(image: Image.Image, path: str, mode: str, fit: Fit) -> Image.Image:
    """Return the image in the mode "L" or "RGB", with its transparent pixels on the background."""
    if levels := levels_of(image):
        values = _mapped(levels, path, fit)
        if levels.hidden is not None and "transparency" in image.info and fit.transparent == "white":
            values[levels.hidden] = 255
        image = Image.fromarray(values)
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fit.transparent), image)
    return image if image.mode == mode else image.convert(mode)


def scale_and_shift(
    size: tuple[int, ...], stored: tuple[int, ...], fit: Fit
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the (x, y) scale, and then shift, that take points of an image to points of the stored image.

    Args:
      size: (height, width) of the image.
      stored: (height, width) of the stored image.
      fit: how the image is fitted.
    """
    (height, width), (to_height, to_width) = size, stored
    if fit.aspect == "stretch" or (height, width) == (to_height, to_width):
        return (to_width / width, to_height / height), (0, 0)
    ratios = to_width / width, to_height / height
    scale = max(ratios) if fit.aspect == "crop" else min(ratios)
    inner = max(1, round(scale * width)), max(1, round(scale * height))
    return (inner[0] / width, inner[1] / height), ((to_width - inner[0]) // 2, (to_height - inner[1]) // 2)


def _resized(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Return the image at `size` (width, height), with its aspect ratio as `fit` has it."""
    if image.size == size:
        return image
    if fit.aspect == "stretch":
        return _scaled(image, size, fit)
    ratios = size[0] / image.width, size[1] / image.height
    scale = max(ratios) if fit.aspect == "crop" else min(ratios)
    inner = tuple(max(1, round(scale * length)) for length in image.size)
    image = _scaled(image, (inner[0], inner[1]), fit)
    canvas = Image.new(image.mode, size)  # a paste at a negative corner crops
    canvas.paste(image, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def _scaled(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Return the image stretched to `size` (width, height)."""
    if fit.antialias or fit.resize == "nearest":
        return image.resize(size, _FILTERS[fit.resize])
    steps = image.width / size[0], image.height / size[1]
    corners = (steps[0], 0, 0, 0, steps[1], 0)
    return image.transform(size, Image.Transform.AFFINE, corners, _FILTERS[fit.resize])
