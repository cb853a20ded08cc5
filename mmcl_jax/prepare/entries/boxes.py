"""Boxes in images: a table with a row per box, in pixels of the image's file, becomes `[N, boxes, 5]`."""

from typing import NamedTuple

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.files import placed
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.join.tables import Keyed
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.table.cells import nameless, text_of, whole
from mmcl_jax.prepare.table.parse import in_order
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.prepare.table.table import require_columns

COLUMNS = ("x0", "y0", "x1", "y1", "class")


class RawBoxes(NamedTuple):
    """Boxes of rows.

    `values` [N, M, 5] float32: left, top, right, bottom in pixels of the stored image, and the code of the class; NaN
    behind the last. `present` [N]: whether a row is in the table at all. `categories` are the classes in code order.
    `lost` boxes lay in what the image lost when it was cropped.
    """

    values: np.ndarray
    present: np.ndarray
    categories: tuple[str, ...]
    lost: int


def read_boxes(one: Joined, of: Pixels, rows: Rows, quarantine: Quarantine, *, most: int = 0) -> RawBoxes:
    """Return the boxes of all rows, where their stored images have them.

    A key whose row has empty cells has no box; a key that is in no row of the table lacks the entry. The boxes of a
    row of which one is none, or lies outside of its image, go to the quarantine.

    Args:
      one: the target.
      of: the image that the boxes belong to.
      rows: all rows.
      quarantine: to add to.
      most: M; rows with more boxes are bad. By default M is the largest number of a row.

    Raises:
      UserError: a column is missing.
    """
    assert isinstance(one.content, Keyed)
    keyed = one.content
    names = list(one.source.column or COLUMNS)
    require_columns(keyed.frame.columns, names, keyed.file)
    texts = [text_of(nameless(keyed.frame[name])) for name in names]
    empty = np.all([(text.is_null() | (text == "")).fill_null(True).to_numpy() for text in texts[:4]], axis=0)
    corners = np.stack(
        [text.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy() for text in texts[:4]], axis=1
    )
    classes = whole(texts[4]).replace({"": None})
    categories = one.source.categories or in_order(classes.filter(pl.Series(~empty)))
    codes = {text: float(code) for code, text in enumerate(categories)}
    by_key: dict[str, list[int]] = {}
    for row, key in enumerate(keyed.keys):
        if key:
            by_key.setdefault(key, []).append(row)
    images = of.at(np.arange(len(rows.keys)))
    found: list[np.ndarray] = []
    present, lost = np.zeros(len(rows.keys), bool), 0
    for row, key in enumerate(rows.keys):
        mine: list[list[float]] = []
        size = of.decoded.shapes[images[row]] if key in by_key and images[row] >= 0 else None
        if size is not None:
            present[row] = True
            scale, shift = placed(size, of.entry.shape[:2], of.source.fit)
            ends = [*of.entry.shape[1::-1]] * 2
            for there in by_key[key]:
                if empty[there]:
                    continue
                wrong = _wrong(corners[there], size, names)
                if not wrong and classes[there] not in codes:
                    wrong = f"column {names[4]!r} holds {classes[there]!r}, which is no class of a box"
                if wrong:
                    reason = f"{keyed.row(there)} (key {key!r}): {wrong}."
                    rows.leave_out(row, quarantine, "wrong box", reason, entry=one.name)
                    continue
                box = np.clip(corners[there] * [*scale, *scale] + [*shift, *shift], 0, ends)
                if box[0] < box[2] and box[1] < box[3]:
                    mine.append([*box, codes[classes[there]]])
                else:
                    lost += 1
        if most and len(mine) > most:
            reason = f"The key {key!r} has {len(mine)} boxes in {keyed.file}, and the store of --like holds {most}."
            rows.leave_out(row, quarantine, "too many boxes", reason, entry=one.name)
            mine = []
        found.append(np.array(mine).reshape(-1, 5))
    check(bool(present.any()), f"{one.where}: no row of {keyed.file} is of an image.")
    present &= ~rows.lacking(quarantine, one.name)
    values = np.full((len(found), most or max(1, *map(len, found)), 5), np.nan, np.float32)
    for row, boxes in enumerate(found):
        values[row, : len(boxes)] = boxes
    return RawBoxes(values, present, tuple(categories), lost)


def _wrong(corners: np.ndarray, size: tuple[int, ...], names: list[str]) -> str:
    """Return what is wrong with a box (left, top, right, bottom) of an image of (height, width), or ""."""
    for name, value in zip(names, corners, strict=False):
        if not np.isfinite(value):
            return f"column {name!r} holds no number"
    left, top, right, bottom = corners
    said = f"the box {', '.join(f'{value:g}' for value in corners)}"
    if not (left < right and top < bottom):
        return f"{said} is empty: {names[2]} and {names[3]} must be larger than {names[0]} and {names[1]}"
    if left < 0 or top < 0 or right > size[1] or bottom > size[0]:
        return f"{said} lies outside of its image, which is {size[1]} wide and {size[0]} high"
    return ""
