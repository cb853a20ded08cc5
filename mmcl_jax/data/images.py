"""Reading image files: where they are, what they may be, and how they become uint8 arrays of one shape."""

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
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


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
        its type, and (low, high) that range; what is beyond becomes 0 or 255. Of colours of 16 bits Pillow gives the
        high bytes, as with "full".
      max_pixels: larger pictures are refused before they are decoded.
    """

    resize: str = "bilinear"
    antialias: bool = True
    aspect: Literal["stretch", "crop", "pad"] = "stretch"
    transparent: Literal["white", "black"] = "white"
    intensity: Literal["minmax", "full"] | tuple[float, float] = "minmax"
    max_pixels: int = 80_000_000

    def __post_init__(self) -> None:
        """Raises `UserError` for a filter that cannot do without antialiasing."""
        check(
            self.antialias or self.resize != "lanczos",
            "--resize: lanczos is a filter for antialiasing; leave that on, or take bicubic.",
        )

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
    _require("\0" not in name, "unsafe path", f"The image path {name!r} holds a zero byte.")
    path = os.path.join(root, name)
    inside = not os.path.isabs(name) and ".." not in name.split("/") and _leads_into(root, os.path.dirname(path))
    if inside and os.path.islink(path):
        inside = os.path.realpath(path).startswith(os.path.join(root, ""))
    _require(inside, "unsafe path", f"The image path {name!r} leaves the image folder {root}.")
    _require(os.path.exists(path), "missing image", f"The image {path} does not exist.")
    _require(os.path.isfile(path), "missing image", f"The image {path} is not a file.")
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
    with _decoding(path), Image.open(path) as image:
        height, width = image.height, image.width
        # The header of a PNG may lie after its pixels, which are not decoded here where they are many.
        if height * width <= Fit.max_pixels and _turn(image) >= 5:
            height, width = width, height
        found = height, width, 3 if _coloured(image) else 1
    return found


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
    with _decoding(path), Image.open(path) as image:
        _check_header(image, path, channels, fit)
        size = image.size
        if fit.antialias and fit.resize != "nearest" and image.format == "JPEG":
            image.draft(None, (2 * max(width, height), 2 * max(width, height)))  # decode at a half, quarter, eighth
        turn = _turn(image)
        pixels = _eight_bits(ImageOps.exif_transpose(image) if turn != 1 else image, _MODES[channels], fit)
        original = (size[0], size[1]) if turn >= 5 else (size[1], size[0])
        array = np.asarray(_resized(pixels, (width, height), fit)).reshape(shape)
    return array, original


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
        low, high = float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)
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


@contextlib.contextmanager
def _decoding(path: str) -> Iterator[None]:
    """Any error inside becomes one sentence: on broken files, Pillow's decoders raise whatever comes to them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except Unusable:
        raise
    except _BOMBS as error:
        raise Unusable("too large", f"The image {path} is refused: {str(error).rstrip('.')}.") from error
    except UnidentifiedImageError as error:
        raise Unusable(
            "broken image", f"The image {path} cannot be read: it is no picture of a known format."
        ) from error
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise Unusable("broken image", f"The image {path} cannot be read: {reason}.") from error


def _turn(image: Image.Image) -> int:
    """The orientation that EXIF says, 1 to 8; 1 is upright, and from 5 on height and width change places."""
    turn = image.getexif().get(0x0112, 1)
    return turn if turn in range(1, 9) else 1


def _coloured(image: Image.Image) -> bool:
    return image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I")


def _check_header(image: Image.Image, path: str, channels: int, fit: Fit) -> None:
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a camera's JPEG with a preview behind it
    _require(frames == 1, "several frames", f"The image {path} has {frames} frames, not one.")
    pixels = image.width * image.height
    limit = fit.max_pixels
    _require(pixels <= limit, "too large", f"The image {path} has {pixels:,} pixels; more than {limit:,} are refused.")
    _require(
        channels == 3 or not _coloured(image),
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
