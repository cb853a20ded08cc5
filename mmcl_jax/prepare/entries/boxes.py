"""Boxes in images: reading a table with a row per box, in pixels of the image's file, into an array `[N, boxes, 5]`."""

from typing import NamedTuple

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.files import scale_and_shift
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.table.cells import canonical_integers, nameless, text_of
from mmcl_jax.prepare.table.parse import in_order
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.prepare.table.table import require_columns
from mmcl_jax.text import brief

COLUMNS = ("x0", "y0", "x1", "y1", "class")


class RawBoxes(NamedTuple):
    """The boxes of all rows.

    `values` `[N, M, 5]` float32 hold left, top, right and bottom in pixels of the stored image, and the code of the
    class; NaN after the last box. `present` `[N]` says whether the table has the row's key. `categories` are the
    classes in the order of their codes. `lost` is the number of boxes in parts of images that cropping cut off.
    """

    values: np.ndarray
    present: np.ndarray
    categories: tuple[str, ...]
    lost: int


def read_boxes(target: Joined, image: Pixels, rows: Rows, quarantine: Quarantine, *, most: int = 0) -> RawBoxes:
    """Return the boxes of all rows, in pixels of their stored images.

    A key whose cells are empty has no box; a key that the table does not have lacks the entry. If one box of a row is
    not a box, or lies outside of the image, the row's entry goes to the quarantine.

    Args:
      target: the joined target.
      image: the image that the boxes belong to.
      rows: all rows.
      quarantine: to which bad rows are added.
      most: M; rows with more boxes are bad. By default, M is the number of boxes of the row with the most.

    Raises:
      UserError: a column is missing, or the image has several pictures per row.
    """
    assert isinstance(target.content, Keyed)
    keyed = target.content
    names = list(target.source.column or COLUMNS)
    require_columns(keyed.frame.columns, names, keyed.file)
    texts = [text_of(nameless(keyed.frame[name])) for name in names]
    empty = np.all([(text.is_null() | (text == "")).fill_null(True).to_numpy() for text in texts[:4]], axis=0)
    corners = np.stack(
        [text.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy() for text in texts[:4]], axis=1
    )
    classes = canonical_integers(texts[4]).replace({"": None})
    categories = target.source.categories or in_order(classes.filter(pl.Series(~empty)))
    codes = {text: float(code) for code, text in enumerate(categories)}
    by_key: dict[str, list[int]] = {}
    for row, key in enumerate(keyed.keys):
        if key:
            by_key.setdefault(key, []).append(row)
    per_row = max((len(names) for names in image.source.names), default=0)
    check(
        per_row <= 1, f"{target.where}: {image.source.name!r} has {per_row} images per row; boxes belong to one image."
    )
    indices = image.at(np.arange(len(rows.keys)))
    boxes_of: list[np.ndarray] = []
    present, lost = np.zeros(len(rows.keys), bool), 0
    for row, key in enumerate(rows.keys):
        boxes: list[list[float]] = []
        size = image.decoded.shapes[indices[row]] if key in by_key and indices[row] >= 0 else None
        if size is not None:
            present[row] = True
            scale, shift = scale_and_shift(size, image.entry.shape[:2], image.source.fit)
            ends = [*image.entry.shape[1::-1]] * 2
            for index in by_key[key]:
                if empty[index]:
                    continue
                wrong = _defect(corners[index], size, names)
                if not wrong and classes[index] not in codes:
                    wrong = f"column {names[4]!r} holds {classes[index]!r}, which is not a declared class"
                if wrong:
                    reason = f"{keyed.row(index)} (key {brief(key)}): {wrong}."
                    rows.leave_out(row, quarantine, "wrong box", reason, entry=target.name)
                    continue
                box = np.clip(corners[index] * [*scale, *scale] + [*shift, *shift], 0, ends)
                if box[0] < box[2] and box[1] < box[3]:
                    boxes.append([*box, codes[classes[index]]])
                else:
                    lost += 1
        if most and len(boxes) > most:
            reason = (
                f"The key {brief(key)} has {len(boxes)} boxes in {keyed.file}, but the store of --like holds {most}."
            )
            rows.leave_out(row, quarantine, "too many boxes", reason, entry=target.name)
            boxes = []
        boxes_of.append(np.array(boxes).reshape(-1, 5))
    check(bool(present.any()), f"{target.where}: no key of {keyed.file} is the key of an image.")
    present &= ~rows.lacking(quarantine, target.name)
    values = np.full((len(boxes_of), most or max(1, *map(len, boxes_of)), 5), np.nan, np.float32)
    for row, members in enumerate(boxes_of):
        values[row, : len(members)] = members
    return RawBoxes(values, present, tuple(categories), lost)


def _defect(corners: np.ndarray, size: tuple[int, ...], names: list[str]) -> str:
    """Return what is wrong with a box (left, top, right, bottom) of an image of (height, width), or ""."""
    for name, value in zip(names, corners, strict=False):
        if not np.isfinite(value):
            return f"column {name!r} holds no number"
    left, top, right, bottom = corners
    box = f"the box {', '.join(f'{value:g}' for value in corners)}"
    if not (left < right and top < bottom):
        return f"{box} is empty: {names[2]} and {names[3]} must be larger than {names[0]} and {names[1]}"
    if left < 0 or top < 0 or right > size[1] or bottom > size[0]:
        return f"{box} lies outside of its image, which is {size[1]} wide and {size[0]} high"
    return ""
