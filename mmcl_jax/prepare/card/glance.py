"""A glance at the values of entries, for the data card: images, masks and boxes over their images, and histograms."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.page.volumes import in_a_square, three_slices
from mmcl_jax.prepare.card.entries import Glance
from mmcl_jax.prepare.entries.matrix import MISSING
from mmcl_jax.prepare.images.levels import to_uint8

_IMAGES = 12
_ROWS = 1000  # of a vector, for its histogram
_BINS = 24
_SMALL = 96  # images with boxes are enlarged to this, so that lines can be seen
_COLOURS = np.array(  # of Okabe and Ito, which colour-blind people can tell apart
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    np.uint8,
)


def glances(content: Content, texts: Mapping[str, list[tuple[str, str]]]) -> dict[str, Glance]:
    """Return a glance at each entry with images or texts; `texts` are some (key, text) by entry."""
    by_entry = {}
    for name, part in content.parts.items():
        entry = part.entry
        if name in texts:
            by_entry[name] = Glance(texts=texts[name])
        elif entry.of:
            by_entry[name] = Glance(
                images=[(content.keys[row], _over(content, name, row)) for row in _rows(content, part)]
            )
        elif entry.kind in ("image", "volume"):
            upwards = bool(entry.affine)
            images = [
                (content.keys[row], grey_or_colour(_value(part, row), upwards=upwards)) for row in _rows(content, part)
            ]
            by_entry[name] = Glance(images=images)
    return by_entry


def facts(content: Content, name: str) -> dict[str, Any]:
    """Return the findings on an entry's values: a histogram of a vector, or how often a target has each class."""
    part = content.parts[name]
    if part.entry.kind == "vector":
        return {"values": _distribution(content, part)}
    if part.entry.kind == "boxes":
        codes = part.values[..., 4]
        return {"classes": _counts(part, codes[~np.isnan(codes)].astype(int))}
    if part.entry.of:
        rows = _rows(content, part)
        return {"classes": _counts(part, np.concatenate([_value(part, row).ravel() for row in rows]))} if rows else {}
    return {}


def grey_or_colour(values: np.ndarray, *, upwards: bool = False) -> np.ndarray:
    """Return an image `[H, W, C]`, or three slices of a volume `[D, H, W, C]`, as uint8 `[H, W, 1 or 3]`.

    The slices are those through the middle, in a square; with `upwards`, of a volume in RAS+, they are turned upside
    down (see `page.volumes`).

    Pixels deeper than 8 bits are scaled by the range of the image.
    """
    shown = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    if shown.ndim == 3:
        return _bytes(shown)
    parts = three_slices(shown, upwards=upwards)
    ends = np.cumsum([part.shape[0] * part.shape[1] for part in parts])
    levels = np.split(_bytes(np.concatenate([part.reshape(-1, 1, part.shape[-1]) for part in parts])), ends[:-1])
    return in_a_square([one.reshape(part.shape) for one, part in zip(levels, parts, strict=True)])


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else to_uint8(np.ascontiguousarray(pixels), "minmax", nan="background")


def _rows(content: Content, part: Part) -> list[int]:
    """Return some rows of train that have an entry, evenly spread."""
    train = content.splits["train"]
    if part.at is not None:
        first = part.at if part.at.ndim == 1 else part.at[:, 0]
        train = train[first[train] >= 0]
    return [int(train[index]) for index in np.linspace(0, len(train) - 1, min(len(train), _IMAGES)).astype(int)]


def _value(part: Part, row: int) -> np.ndarray:
    """Return the value of a row; if it has several images, the first."""
    index = row if part.at is None else int(part.at[row] if part.at.ndim == 1 else part.at[row, 0])
    return np.asarray(part.values[index])


def _over(content: Content, name: str, row: int) -> np.ndarray:
    """Return the image of a mask or of boxes, with these drawn over it in colours."""
    part = content.parts[name]
    of = content.parts[part.entry.of]
    upwards = bool(of.entry.affine)
    base = grey_or_colour(_value(of, row), upwards=upwards)
    image = np.repeat(base, 3, axis=-1) if base.shape[-1] == 1 else base
    value = _value(part, row)
    if part.entry.kind != "boxes":
        codes = (in_a_square(three_slices(value, upwards=upwards)) if value.ndim == 4 else value)[..., 0].astype(int)
        colour = _COLOURS[(codes - 1) % len(_COLOURS)]
        return np.where((codes > 0)[..., None], (image.astype(int) + colour) // 2, image).astype(np.uint8)
    scale = max(1, -(-_SMALL // max(image.shape[:2])))
    enlarged = Image.fromarray(np.ascontiguousarray(image)).resize(
        (scale * image.shape[1], scale * image.shape[0]), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(enlarged)
    for left, top, right, bottom, code in value[~np.isnan(value[:, 0])]:
        colour = tuple(map(int, _COLOURS[int(code) % len(_COLOURS)]))
        draw.rectangle([left * scale, top * scale, right * scale - 1, bottom * scale - 1], outline=colour, width=2)
    return np.asarray(enlarged)


def _distribution(content: Content, part: Part) -> dict[str, Any]:
    """Return a histogram and moments of the values of some training rows."""
    train = content.splits["train"]
    indices = train if part.at is None else part.at[train]
    indices = np.sort(indices[indices >= 0])[:: max(1, len(indices) // _ROWS)][:_ROWS]
    values = np.asarray(part.values[indices]).astype(np.float64)
    if part.entry.dtype == "int8":
        values = np.where(values == MISSING, np.nan, values)
    present = values[~np.isnan(values)]
    if not present.size:
        return {}
    counts, edges = np.histogram(present, bins=_BINS)
    return {
        "edges": edges.tolist(), "counts": counts.tolist(), "median": float(np.median(present)),
        "mean": float(present.mean()), "sd": float(present.std()), "min": float(present.min()),
        "max": float(present.max()), "missing": float(np.isnan(values).mean()), "looked_at": len(indices),
    }  # fmt: skip


def _counts(part: Part, codes: np.ndarray) -> list[tuple[str, int]]:
    """Return the classes of a target, each with its number of pixels or boxes."""
    categories = part.entry.columns[0].categories
    counts = np.bincount(codes, minlength=len(categories))
    return [(text, int(counts[code])) for code, text in enumerate(categories)]
