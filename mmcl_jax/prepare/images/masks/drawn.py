"""Masks that a table holds as text, in the pixels of their image: run lengths, or boxes, ellipses and polygons.

    "targets": {"lesion": {"kind": "mask", "of": "image", "file": "train-rle.csv", "key": "ImageId",
                           "column": "EncodedPixels", "draw": "runs", "classes": {"none": 0, "lesion": 1}}}

`runs` are pairs `GAP LENGTH`: the pixels from the end of the last run to this one, and the pixels of this one, which
count down the columns of the image, from left to right. `shapes` are joined by `;`: `0 x0 y0 x1 y1` is a box,
`1 x0 y0 x1 y1` an ellipse in this box, which counts as the box, and `2 x y x y x y ...` a polygon. Several texts of an
image are joined by `|`, and a pixel in any of them has the value 1. `-1` is an empty mask.
"""

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from mmcl_jax.prepare.images.files import Fit, fitted
from mmcl_jax.prepare.images.unusable import Unusable, require
from mmcl_jax.text import brief

Drawing = Literal["runs", "shapes"]
EMPTY = "-1"
_BOX, _ELLIPSE, _POLYGON = "0", "1", "2"


def drawn_name(key: str, size: tuple[int, ...], text: str) -> str:
    """Return the name by which `draw_mask` draws the mask of an image with this key and (height, width)."""
    height, width = size
    return "\t".join((str(height), str(width), text.replace("\t", " "), key))


def draw_mask(name: str, drawing: Drawing, shape: tuple[int, ...], fit: Fit) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a mask as uint8 0 and 1, fitted to `shape` like its image by the nearest pixel, and its size.

    Args:
      name: as `drawn_name` makes it.
      drawing: what the text of the name holds.
      shape: (height, width, 1).
      fit: how the image of the mask is fitted.

    Raises:
      Unusable: the text means nothing, or something in it lies outside of the image.
    """
    height, width, text, key = name.split("\t", 3)
    size = int(height), int(width)
    mask = np.zeros(size, np.uint8)
    draw = draw_runs if drawing == "runs" else draw_shapes
    for part in text.split("|"):
        if part.strip() != EMPTY:
            draw(part, mask, f"The mask of {brief(key)}")
    nearest = dataclasses.replace(fit, resize="nearest", antialias=True)
    return fitted(mask[..., None], name, (shape[0], shape[1], 1), nearest)[0], size


def draw_runs(text: str, mask: np.ndarray, where: str) -> None:
    """Set the pixels of run lengths in a mask `[H, W]` to 1.

    Raises:
      Unusable: the text is no pairs of numbers, or a run ends behind the last pixel.

    Example:
      >>> mask = np.zeros((3, 2), np.uint8)
      >>> draw_runs("1 2 1 1", mask, "The mask")
      >>> mask.tolist()
      [[0, 0], [1, 1], [1, 0]]
    """
    words = text.split()
    for word in words:
        require(word.isascii() and word.isdecimal(), "wrong mask", f"{where} has the run length {brief(word)}.")
    sentence = f"{where} has {len(words)} run lengths; they are pairs of a gap and a length."
    require(len(words) % 2 == 0 and bool(words), "wrong mask", sentence)
    columns = np.zeros(mask.size, np.uint8)
    numbers, place = list(map(int, words)), 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        place += gap
        past = f"{where} has a run that ends at pixel {place + length:,}, and its image has {mask.size:,} pixels."
        require(place + length <= mask.size, "wrong mask", past)
        columns[place : place + length] = 1
        place += length
    mask |= columns.reshape(mask.shape[::-1]).T


def draw_shapes(text: str, mask: np.ndarray, where: str) -> None:
    """Set the pixels inside of boxes, ellipses (as boxes) and polygons in a mask `[H, W]` to 1.

    Raises:
      Unusable: the text means nothing, or a shape is empty or lies outside of the image.

    Example:
      >>> mask = np.zeros((3, 4), np.uint8)
      >>> draw_shapes("0 1 0 3 2", mask, "The mask")
      >>> mask.tolist()
      [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    for kind, points in shapes_of(text, where):
        low, high = points.min(axis=0), points.max(axis=0)
        inside = bool((low >= 0).all() and (high <= [mask.shape[1], mask.shape[0]]).all())
        corners = ", ".join(f"{value:g}" for value in (*low, *high))
        outside = f"{where} has a shape from {corners}, outside of its image, which is {mask.shape[1]} wide and "
        require(inside, "wrong mask", f"{outside}{mask.shape[0]} high.")
        if kind == _POLYGON:
            canvas = Image.new("L", mask.shape[::-1])
            ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
            mask |= np.asarray(canvas)
        else:
            left, top, right, bottom = (round(float(value)) for value in (*low, *high))
            mask[top:bottom, left:right] = 1


def shapes_of(text: str, where: str) -> list[tuple[str, np.ndarray]]:
    """Return the shapes of a text: "0", "1" or "2", and the points `[P, 2]` (x, y), two corners of a box.

    Raises:
      Unusable: the text means nothing; the sentence begins with `where`.
    """
    shapes = []
    for part in text.split(";"):
        kind, *words = part.split() or [""]
        try:
            points = np.array(list(map(float, words)))
        except ValueError as error:
            raise Unusable("wrong mask", f"{where} has the shape {brief(part)}, which holds no numbers.") from error
        needed = len(points) == 4 if kind in (_BOX, _ELLIPSE) else len(points) >= 6 and len(points) % 2 == 0
        sentence = (
            f"{where} has the shape {brief(part)}; write 0 or 1 with two corners, or 2 with three or more points."
        )
        require(kind in (_BOX, _ELLIPSE, _POLYGON) and needed, "wrong mask", sentence)
        require(bool(np.isfinite(points).all()), "wrong mask", sentence)
        points = points.reshape(-1, 2)
        empty = f"{where} has the shape {brief(part)}, which is empty."
        require(bool((points.max(axis=0) > points.min(axis=0)).all()), "wrong mask", empty)
        shapes.append((kind, points))
    return shapes
