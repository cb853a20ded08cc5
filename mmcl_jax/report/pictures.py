"""Small pictures and captions of the rows of a store."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmcl_jax.data.kinds.text import words_by_sentence
from mmcl_jax.data.schema import Column
from mmcl_jax.data.store import Store
from mmcl_jax.page.html import Html, element
from mmcl_jax.page.wording import clipped, number
from mmcl_jax.prepare.card.glance import grey_or_colour

_SIDE = 112  # pixels of the longer side of a picture
_SLICES = 160  # and of the three slices of a volume
_PLAIN = 64  # images of at most this side are drawn as squares: smoothing would hide how few pixels they have
_TEXT = 140  # characters of a text


class StoreRows:
    """The rows of a split as pictures and words; a row that lacks an entry has neither of it.

    Args:
      store: the store.
      split: of the store, or of its fold.
      fold: of the store; None for its own splits.
      prefer: names of entries whose picture is shown first, if the store has several with pictures.
    """

    def __init__(self, store: Store, split: str, fold: int | None, prefer: Sequence[str] = ()) -> None:
        self._store, self._split, self._fold = store, split, fold
        entries = store.schema.entries
        inputs = [name for name, entry in entries.items() if entry.role == "input"]
        ordered = [*(name for name in prefer if name in inputs), *inputs]
        self._image = next((name for name in ordered if entries[name].kind in ("image", "volume")), None)
        self._table = next((name for name in ordered if entries[name].kind == "table"), None)
        # Texts may be reports on people: they are shown only if whoever made the store asked for it.
        self._text = next((name for name in ordered if entries[name].kind == "text" and entries[name].show_text), None)
        self._labels = store.schema.first("table", "target")
        names = [name for name in (self._image, self._table, self._text, self._labels) if name]
        self._rows = store.read(split, names, fold=fold)
        self._keys = store.keys(split, fold)
        self._vocabulary: tuple[str, ...] | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether the store has images or volumes."""
        return self._image is not None

    def key(self, row: int) -> str:
        """Return the key of a row."""
        return self._keys[row]

    def label(self, row: int) -> str:
        """Return the first label of a row in words; "" without."""
        if self._labels is None:
            return ""
        column = self._store.schema.label or self._store.schema.labels[0]
        values = np.asarray(self._rows[self._labels][row], np.float64)
        return written(column, values[self._store.schema.labels.index(column)])

    def cells(self, row: int, most: int = 2) -> list[tuple[str, str]]:
        """Return the first columns of a row's table, as (name, value); [] without a table."""
        if self._table is None:
            return []
        values = np.asarray(self._rows[self._table][row], np.float64)
        columns = self._store.schema.entries[self._table].columns
        return [(column.name, written(column, value)) for column, value in zip(columns[:most], values, strict=False)]

    def words(self, row: int) -> str:
        """Return the beginning of a row's text; "" without, and for a text that pages may not show."""
        if self._text is None:
            return ""
        if self._vocabulary is None:
            self._vocabulary = self._store.names(self._text)
        return clipped(" ".join(words_by_sentence(np.asarray(self._rows[self._text][row]), self._vocabulary)), _TEXT)

    def picture(self, row: int, alternative: str) -> Html | None:
        """Return the image of a row, the first of several, or three slices of its volume; None without."""
        if self._image is None:
            return None
        rows = self._rows[self._image]
        if rows.present is not None and not rows.present[row]:
            return None
        entry = self._store.schema.entries[self._image]
        values = np.asarray(rows[row])
        values = values[0] if values.ndim > len(entry.shape) else values
        side = _SLICES if entry.kind == "volume" else _SIDE
        return thumbnail(grey_or_colour(values, upwards=bool(entry.affine)), alternative, side=side)


def thumbnail(pixels: np.ndarray, alternative: str, *, side: int = _SIDE, **attributes: Any) -> Html:
    """Return an `<img>` of uint8 pixels `[H, W, 1 or 3]`, shrunk to `side`; small images are embedded without loss."""
    image = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]))
    small = max(image.size) <= _PLAIN
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, *(("PNG",) if small else ("JPEG",)), **({"optimize": True} if small else {"quality": 82}))
    uri = f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"
    kind = "pixels" if small else None
    width, height = image.size
    return element("img", src=uri, alt=alternative, width=width, height=height, class_=kind, **attributes)


def written(column: Column, value: float) -> str:
    """Return the value of a column as text: its category, its number with the unit, or "missing"."""
    if np.isnan(value):
        return "missing"
    if column.coded:
        code = int(value)
        return column.categories[code] if 0 <= code < len(column.categories) else "unknown"
    if column.kind == "date":
        return str(np.datetime64("1970-01-01") + int(value))
    return number(float(value)) + (f" {column.unit}" if column.unit else "")


def facts(cells: Mapping[str, str]) -> Html | None:
    """Return (name, value) pairs as a short list below a picture; None for none."""
    if not cells:
        return None
    lines = [
        element("div", element("dt", clipped(key, 24)), element("dd", clipped(value, 24)))
        for key, value in cells.items()
    ]
    return element("dl", lines, class_="cells")
