"""Grey levels that are not plain 8 bits, as a file means them, and how they become 8 bits."""

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image, TiffImagePlugin

Intensity = Literal["minmax", "full"] | tuple[float, float]
Nan = Literal["refuse", "background"]

_DEEPEST = 65_535
_ROWS = 256  # converted at a time, so that a large image needs no float64 copy of itself
_TIFF_PHOTOMETRIC, _TIFF_BITS, _TIFF_FORMAT = 262, 258, 339
_UNSIGNED, _SIGNED = 1, 2  # of the TIFF tag SampleFormat
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1  # of the TIFF tag PhotometricInterpretation

# Pillow does not know unsigned integers of 32 bits, the highest byte first.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", _BLACK_IS_ZERO, (_UNSIGNED,), 1, (32,), ()), ("I", "I;32BS"))
# It knows only some of the deep types where white is zero, and inverts none of them; `levels_of` does it for all.
for (_order, _meaning, _sample, _fill, _depth, _others), _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _meaning == _BLACK_IS_ZERO and (_modes[0] == "F" or _modes[0].startswith("I") or _sample == (_SIGNED,)):
        TiffImagePlugin.OPEN_INFO.setdefault((_order, _WHITE_IS_ZERO, _sample, _fill, _depth, _others), _modes)
# What libtiff decompresses has the order of the host, and Pillow reads these as if they still had that of the file.
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


@dataclasses.dataclass(frozen=True)
class Levels:
    """The values of an image, before they are mapped to 8 bits.

    Attributes:
      values: `[H, W]` or `[H, W, C]` of any real type.
      full: the range that "full" maps; by default that of an integer type, and none for floats.
      hidden: bool `[H, W]`, pixels that show nothing: they are black, and the image's range is that of the others.
      inverted: whether the lowest value is white.
    """

    values: np.ndarray
    full: tuple[float, float] | None = None
    hidden: np.ndarray | None = None
    inverted: bool = False


def to_uint8(pixels: np.ndarray | Levels, intensity: Intensity, *, nan: Nan = "refuse") -> np.ndarray:
    """Return values of any real type as uint8 by the rule `Fit.intensity`, and uint8 of the whole range as it is.

    Args:
      pixels: what a file holds.
      intensity: "minmax" maps the range of the values that are shown onto 0-255, "full" the range of their type, and
        (low, high) that range; what is beyond becomes 0 or 255.
      nan: whether values that are not finite are refused or hidden.

    Raises:
      ValueError: a value is not finite, or "full" is asked of values whose type has no range.
    """
    levels = pixels if isinstance(pixels, Levels) else Levels(pixels)
    values, hidden = levels.values, levels.hidden
    full = levels.full
    if full is None and values.dtype.kind in "iu":
        full = float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)
    if values.dtype == np.uint8 and full == (0, 255) and hidden is None and not levels.inverted:
        return values
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        if nan == "refuse":
            raise ValueError("it has values that are not finite; --nan background shows them black")
        bad = ~finite if values.ndim == 2 else ~finite.all(axis=2)
        hidden = bad if hidden is None else hidden | bad
    shown = values if hidden is None else values[~hidden]
    if isinstance(intensity, tuple):
        low, high = intensity
    elif intensity == "full":
        if full is None:
            raise ValueError('"full" is the range of integers, and its values are floats')
        low, high = full
    else:
        low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    width = max(high - low, np.finfo(np.float64).tiny)
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        block = values[rows].astype(np.float64)
        if hidden is not None:
            block[hidden[rows]] = low
        share = np.clip((block - low) / width, 0, 1)
        result[rows] = np.rint(255 * (1 - share if levels.inverted else share))
    if hidden is not None:
        result[hidden] = 0
    return result


def to_uint16(pixels: np.ndarray | Levels, intensity: Intensity, *, nan: Nan = "refuse") -> np.ndarray:
    """Return values of any real type as uint16; whole numbers within 16 bits without loss.

    Args:
      pixels: what a file holds.
      intensity: "minmax" keeps whole numbers from 0 to 65535 as they are and refuses others; "full" stores the distance
        of a whole number from the least one of its type, and (low, high) that from `low`. Where there is a fraction, or
        the range is wider than 16 bits, it is mapped onto 0-65535. What is beyond (low, high) is at its ends. Pixels
        of 8 bits take the whole range of 16, times 257.
      nan: whether values that are not finite are refused or hidden.

    Raises:
      ValueError: a value is not finite, or not as above.
    """
    levels = pixels if isinstance(pixels, Levels) else Levels(pixels)
    values, hidden, full = levels.values, levels.hidden, levels.full
    if full is None and values.dtype.kind in "iu":
        full = float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)
    if values.dtype == np.uint8 and full == (0, 255):
        eight = values.astype(np.uint16) * np.uint16(257)
        values, full = eight, (0.0, 65_535.0)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        if nan == "refuse":
            raise ValueError("it has values that are not finite; --nan background shows them black")
        bad = ~finite if values.ndim == 2 else ~finite.all(axis=2)
        hidden = bad if hidden is None else hidden | bad
        values = np.where(finite, values, 0)
    numbers = values.astype(np.float64)
    whole = bool((np.rint(numbers) == numbers).all())
    if intensity == "minmax":
        shown = numbers if hidden is None else numbers[~hidden]
        low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
        if not whole or low < 0 or high > _DEEPEST:
            what = "that are no whole numbers" if not whole else f"from {low:g} to {high:g}"
            raise ValueError(
                f"it has values {what}, and 16 bits hold 0 to 65535; say the range with --intensity LOW:HIGH"
            )
        ends = (0.0, full[1] if full and full[0] == 0 and full[1] <= _DEEPEST else float(_DEEPEST))
    elif intensity == "full":
        if full is None:
            raise ValueError('"full" is the range of integers, and its values are floats')
        ends = full
    else:
        ends = intensity
    numbers = np.clip(numbers, *ends) - ends[0]
    if levels.inverted:
        numbers = ends[1] - ends[0] - numbers
    if not whole or ends[1] - ends[0] > _DEEPEST or ends[0] != np.rint(ends[0]):
        numbers = numbers / (ends[1] - ends[0]) * _DEEPEST
    result = np.rint(numbers).astype(np.uint16)
    if hidden is not None:
        result[hidden] = 0
    return result


def keep_order(image: Image.Image) -> None:
    """Have the bytes of a compressed TIFF swapped once. Call it before the image is loaded."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        for place, tile in enumerate(image.tile):
            if tile.codec_name == "libtiff" and isinstance(tile.args, tuple):
                raw = tile.args[0]
                image.tile[place] = tile._replace(args=(_NATIVE.get(raw, raw), *tile.args[1:]))


def levels_of(image: Image.Image) -> Levels | None:
    """Return the values of a grey image that Pillow does not give as 8 bits; None for every other image.

    Pillow reads some types into others that hold their bits: here they have their own type and range again.

    Args:
      image: loaded.
    """
    tags = getattr(image, "tag_v2", {})  # of TIFF
    bits, sample = _first(tags.get(_TIFF_BITS, 0)), _first(tags.get(_TIFF_FORMAT, _UNSIGNED))
    # Pillow inverts pixels of up to 8 bits itself, but for signed ones.
    inverted = tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "L" and sample == _SIGNED:
        return Levels(np.asarray(image).view(np.int8), inverted=inverted)
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    values = np.asarray(image)
    full: tuple[float, float] | None = None
    if image.mode == "I" and tags:
        if sample == _UNSIGNED:
            values = values.view(np.uint32)
        elif bits == 16:
            values = values.astype(np.int16)
    elif image.mode == "I" and image.format == "PPM":  # which Pillow scales to 16 bits
        full = 0, 65_535
    elif bits == 12:
        full = 0, 4095
    clear = image.info.get("transparency")
    hidden = values == clear if isinstance(clear, int) else None
    return Levels(values, full, hidden, inverted)


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value
