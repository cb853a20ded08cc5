"""Reading image files: where they are, what they may be, and how they become uint8 arrays of one shape."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from mmcl_jax.errors import UserError

Reader = Callable[[Path], np.ndarray]  # raises `UserError`
Shape = tuple[int, int, int]

_MODES = {1: "L", 3: "RGB"}
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
FILTERS = tuple(_FILTERS)
_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class Unusable(UserError):
    """An image that cannot be used; `cause` is the short word that such images are counted by."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def _require(condition: bool, cause: str, sentence: str) -> None:
    if not condition:
        raise Unusable(cause, sentence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """How pictures of any kind are made to fit.

    Attributes:
      resize: filter, one of `FILTERS`.
      antialias: whether shrinking averages over what it leaves out; without, values are interpolated at points, as
        torchvision did on tensors before 0.17.
      aspect: "stretch" to the stored size, "crop" its middle from a picture scaled to cover it, or "pad" a picture
        scaled to lie within it with black.
      transparent: "white" or "black": what shows through transparent pixels.
      intensity: how deeper pixels become 8 bits: "minmax" maps each picture's own range onto 0-255, "full" the range of
        its type, and (low, high) that range; what is beyond becomes 0 or 255.
      max_pixels: larger pictures are refused before they are decoded.
    """

    resize: str = "bilinear"
    antialias: bool = True
    aspect: Literal["stretch", "crop", "pad"] = "stretch"
    transparent: Literal["white", "black"] = "white"
    intensity: Literal["minmax", "full"] | tuple[float, float] = "minmax"
    max_pixels: int = 80_000_000

    def describe(self) -> str:
        """In words, as the schema keeps it."""
        how = f"{self.resize}, {'antialiased' if self.antialias else 'not antialiased'}"
        return (
            f"resize {how}, aspect ratio {self.aspect}; upright by EXIF; transparent pixels on {self.transparent}; "
            f"deeper than 8 bits: {self.intensity}"
        )


def locate(root: str, name: str) -> str:
    """The file `name` under `root`, which must be a real path.

    Raises:
      Unusable: the path is absolute, leaves `root` (by `..` or by a link), or is not there.
    """
    path = os.path.join(root, name)
    inside = not os.path.isabs(name) and ".." not in name.split("/") and _leads_into(root, os.path.dirname(path))
    if inside and os.path.islink(path):
        inside = os.path.realpath(path).startswith(os.path.join(root, ""))
    _require(inside, "unsafe path", f"The image path {name!r} leaves the image folder {root}.")
    _require(os.path.exists(path), "missing image", f"The image {path} does not exist.")
    return path


@functools.lru_cache(maxsize=4096)
def _leads_into(root: str, folder: str) -> bool:
    real = os.path.realpath(folder)
    return real == root or real.startswith(os.path.join(root, ""))


def read_shape(path: str, *, read: Reader | None = None) -> Shape:
    """`(height, width, channels)`, upright; of ordinary files from the header alone. Colour and palettes count as 3.

    Raises:
      Unusable: the file is not a readable image.
    """
    if reader := read or _special(path):
        height, width, channels = reader(Path(path)).shape
        return height, width, channels
    try:
        with Image.open(path) as image:
            height, width = image.height, image.width
            if image.getexif().get(0x0112, 1) >= 5:  # turned by 90 degrees
                height, width = width, height
            return height, width, 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    except _ERRORS as error:
        raise Unusable("broken image", f"The image {path} cannot be read: {error}.") from error


def read_image(path: str, shape: Shape, fit: Fit, *, read: Reader | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture as uint8 `[height, width, channels]`, and the height and width it has in the file (upright).

    Args:
      path: an image file; DICOM and NIfTI take the extra `medical`.
      shape: to make.
      fit: how.
      read: reads the file instead of the ordinary readers.

    Raises:
      Unusable: the file cannot be decoded, is absurdly large, has several frames, or has colour and `shape` has not.
    """
    height, width, channels = shape
    if reader := read or _special(path):
        try:
            values = to_uint8(reader(Path(path)), fit.intensity)
        except UserError as error:
            raise Unusable("broken image", str(error)) from error
        except ValueError as error:
            raise Unusable("broken image", f"The image {path} cannot be used: {error}.") from error
        found = values.shape[2]
        _require(found == channels, "wrong channels", f"The image {path} has {found} channels, the others {channels}.")
        planes = [_resized(Image.fromarray(plane), (width, height), fit) for plane in np.moveaxis(values, 2, 0)]
        return np.stack([np.asarray(plane) for plane in planes], axis=2), values.shape[:2]
    if Image.MAX_IMAGE_PIXELS and fit.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = fit.max_pixels  # who allows more is not warned by Pillow
    try:
        with Image.open(path) as image:
            _check_header(image, path, channels, fit)
            size = image.size
            if fit.antialias and fit.resize != "nearest" and image.format == "JPEG":
                image.draft(None, (2 * max(width, height), 2 * max(width, height)))  # decode at a half, quarter, eighth
            turn = image.getexif().get(0x0112, 1)
            pixels = _eight_bits(ImageOps.exif_transpose(image) if turn != 1 else image, _MODES[channels], fit)
            original = (size[0], size[1]) if turn >= 5 else (size[1], size[0])
            return np.asarray(_resized(pixels, (width, height), fit)).reshape(shape), original
    except _ERRORS as error:
        raise Unusable("broken image", f"The image {path} cannot be read: {error}.") from error


def to_uint8(values: np.ndarray, intensity: str | tuple[float, float]) -> np.ndarray:
    """Values of any real type as uint8, by the rule `Fit.intensity`; uint8 as it is.

    Raises:
      ValueError: a value is not finite, or "full" is asked of floats.
    """
    if values.dtype == np.uint8:
        return values
    values_64 = values.astype(np.float64)
    if not np.isfinite(values_64).all():
        raise ValueError("it has values that are not finite")
    if isinstance(intensity, tuple):
        low, high = intensity
    elif intensity == "full":
        if values.dtype.kind not in "iu":
            raise ValueError('"full" is the range of integers, and its values are floats')
        low, high = 0.0, float(np.iinfo(values.dtype).max)
    else:
        low, high = float(values_64.min()), float(values_64.max())
    scaled = (values_64 - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def _special(path: str) -> Reader | None:
    """The reader of a medical format."""
    name = path.lower()
    if name.endswith((".dcm", ".nii", ".nii.gz")):
        from mmcl_jax.data import medical

        return medical.read_dicom if name.endswith(".dcm") else medical.read_nifti
    return None


def _check_header(image: Image.Image, path: str, channels: int, fit: Fit) -> None:
    frames = getattr(image, "n_frames", 1)
    _require(frames == 1, "several frames", f"The image {path} has {frames} frames, not one.")
    pixels = image.width * image.height
    limit = fit.max_pixels
    _require(pixels <= limit, "too large", f"The image {path} has {pixels:,} pixels; more than {limit:,} are refused.")
    colour = image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I")
    _require(
        channels == 3 or not colour,
        "wrong channels",
        f"The image {path} has colour (mode {image.mode}) and the store is grey.",
    )


def _eight_bits(image: Image.Image, mode: str, fit: Fit) -> Image.Image:
    """The picture in the mode "L" or "RGB"."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(to_uint8(np.asarray(image), fit.intensity))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fit.transparent), image)
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """The picture at `size` (width, height)."""
    if image.size == size:
        return image
    if fit.aspect == "stretch":
        return _scaled(image, size, fit)
    ratios = size[0] / image.width, size[1] / image.height
    scale = max(ratios) if fit.aspect == "crop" else min(ratios)
    inner = tuple(max(1, round(scale * length)) for length in image.size)
    image = _scaled(image, (inner[0], inner[1]), fit)
    canvas = Image.new(image.mode, size)  # pastes what lies within; a negative corner crops
    canvas.paste(image, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def _scaled(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    if fit.antialias or fit.resize == "nearest":
        return image.resize(size, _FILTERS[fit.resize])
    steps = image.width / size[0], image.height / size[1]
    corners = (steps[0], 0, 0, 0, steps[1], 0)
    return image.transform(size, Image.Transform.AFFINE, corners, _FILTERS[fit.resize])
