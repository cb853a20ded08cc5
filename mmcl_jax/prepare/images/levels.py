"""Grey levels deeper than 8 bits: their values as a file means them, and their conversion to 8 or 16 bits."""

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image, TiffImagePlugin

Intensity = Literal["minmax", "full"] | tuple[float, float]
Nan = Literal["refuse", "background"]

_DEEPEST = 65_535
_ROWS = 256  # converted at a time, so that no float64 copy of a large image is made
_TIFF_PHOTOMETRIC, _TIFF_BITS, _TIFF_FORMAT = 262, 258, 339
_UNSIGNED, _SIGNED = 1, 2  # of the TIFF tag SampleFormat
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1  # of the TIFF tag PhotometricInterpretation

# Pillow lacks unsigned integers of 32 bits with the highest byte first.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", _BLACK_IS_ZERO, (_UNSIGNED,), 1, (32,), ()), ("I", "I;32BS"))
# Pillow opens only some of the deep types in which white is zero, and inverts none; `levels_of` inverts all of them.
for (_order, _meaning, _sample, _fill, _depth, _others), _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _meaning == _BLACK_IS_ZERO and (_modes[0] == "F" or _modes[0].startswith("I") or _sample == (_SIGNED,)):
        TiffImagePlugin.OPEN_INFO.setdefault((_order, _WHITE_IS_ZERO, _sample, _fill, _depth, _others), _modes)
# libtiff decompresses to the byte order of the host, but Pillow reads these types in the byte order of the file.
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


@dataclasses.dataclass(frozen=True)
class Levels:
    """The values of an image, before they are mapped to 8 bits.

    Attributes:
      values: `[H, W]` or `[H, W, C]` of any real type.
      full: the range that "full" maps; None for the range of an integer type, and for floats, which have none.
      hidden: bool `[H, W]`, pixels that show nothing: they become black and do not count for the image's range.
      inverted: whether the lowest value is white.
    """

    values: np.ndarray
    full: tuple[float, float] | None = None
    hidden: np.ndarray | None = None
    inverted: bool = False


def to_uint8(pixels: np.ndarray | Levels, intensity: Intensity, *, nan: Nan = "refuse") -> np.ndarray:
    """Return values of any real type as uint8, mapped as `Fit.intensity` says; plain uint8 is returned unchanged.

    Args:
      pixels: the values of a file.
      intensity: "minmax" maps the range of the values that are not hidden onto 0-255, "full" the range of their type,
        and (low, high) that range; values beyond it become 0 or 255.
      nan: "refuse" refuses values that are not finite; "background" hides them.

    Raises:
      ValueError: a value is not finite, or `intensity` is "full" and the values are floats.
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
            raise ValueError("it has values that are not finite; --nan background makes those pixels black")
        bad = ~finite if values.ndim == 2 else ~finite.all(axis=2)
        hidden = bad if hidden is None else hidden | bad
    shown = values if hidden is None else values[~hidden]
    if isinstance(intensity, tuple):
        low, high = intensity
    elif intensity == "full":
        if full is None:
            raise ValueError('its values are floats, whose type has no range for "full"; use --intensity LOW:HIGH')
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
    """Return values of any real type as uint16, without loss for whole numbers within 16 bits.

    Args:
      pixels: the values of a file.
      intensity: "minmax" keeps whole numbers from 0 to 65535 unchanged and refuses other values; "full" subtracts the
        lowest value of the type, and (low, high) clips to that range and subtracts `low`. If values have fractions,
        or the range is wider than 16 bits, the range is mapped onto 0-65535. Pixels of 8 bits are multiplied by 257.
      nan: "refuse" refuses values that are not finite; "background" hides them.

    Raises:
      ValueError: a value is not finite, or is refused by "minmax"; or `intensity` is "full" and the values are floats.
    """
    levels = pixels if isinstance(pixels, Levels) else Levels(pixels)
    values, hidden, full = levels.values, levels.hidden, levels.full
    if full is None and values.dtype.kind in "iu":
        full = float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)
    if values.dtype == np.uint8 and full == (0, 255):
        values, full = values.astype(np.uint16) * np.uint16(257), (0.0, 65_535.0)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        if nan == "refuse":
            raise ValueError("it has values that are not finite; --nan background makes those pixels black")
        bad = ~finite if values.ndim == 2 else ~finite.all(axis=2)
        hidden = bad if hidden is None else hidden | bad
        values = np.where(finite, values, 0)
    numbers = values.astype(np.float64)
    integral = bool((np.rint(numbers) == numbers).all())
    if intensity == "minmax":
        shown = numbers if hidden is None else numbers[~hidden]
        low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
        if not integral or low < 0 or high > _DEEPEST:
            what = "that are not whole numbers" if not integral else f"from {low:g} to {high:g}"
            raise ValueError(
                f"it has values {what}, and 16 bits hold 0 to 65535; give their range with --intensity LOW:HIGH"
            )
        ends = (0.0, full[1] if full and full[0] == 0 and full[1] <= _DEEPEST else float(_DEEPEST))
    elif intensity == "full":
        if full is None:
            raise ValueError('its values are floats, whose type has no range for "full"; use --intensity LOW:HIGH')
        ends = full
    else:
        ends = intensity
    numbers = np.clip(numbers, *ends) - ends[0]
    if levels.inverted:
        numbers = ends[1] - ends[0] - numbers
    if not integral or ends[1] - ends[0] > _DEEPEST or ends[0] != np.rint(ends[0]):
        numbers = numbers / (ends[1] - ends[0]) * _DEEPEST
    result = np.rint(numbers).astype(np.uint16)
    if hidden is not None:
        result[hidden] = 0
    return result


def keep_order(image: Image.Image) -> None:
    """Correct the byte order that Pillow assumes of a compressed TIFF; call this before the image is loaded."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        for index, tile in enumerate(image.tile):
            if tile.codec_name == "libtiff" and isinstance(tile.args, tuple):
                raw = tile.args[0]
                image.tile[index] = tile._replace(args=(_NATIVE.get(raw, raw), *tile.args[1:]))


def levels_of(image: Image.Image) -> Levels | None:
    """Return the values of a grey image that is deeper than 8 bits, or signed; None for any other image.

    Pillow reads some types into wider ones; the values returned have the type and range of the file.

    Args:
      image: an image whose pixels are loaded.
    """
    tags = getattr(image, "tag_v2", {})  # of TIFF
    bits, sample = _first(tags.get(_TIFF_BITS, 0)), _first(tags.get(_TIFF_FORMAT, _UNSIGNED))
    # Pillow itself inverts pixels of up to 8 bits, except signed ones.
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
    elif image.mode == "I" and image.format == "PPM":  # Pillow scales PPM to 16 bits
        full = 0, 65_535
    elif bits == 12:
        full = 0, 4095
    clear = image.info.get("transparency")
    hidden = values == clear if isinstance(clear, int) else None
    return Levels(values, full, hidden, inverted)


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value
