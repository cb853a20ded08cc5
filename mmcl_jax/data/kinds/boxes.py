"""Boxes in an image: targets of detection."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.kinds.image import pictured
from mmcl_jax.data.kinds.kind import Kind, first_true_row
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import check


class BoxesKind(Kind):
    """`[boxes, 5]`: left, top, right and bottom in pixels of the stored image `Entry.of`, and the code of the class.

    Right and bottom are exclusive: the box of a whole image of 4 x 6 pixels is 0, 0, 6, 4. Rows with fewer boxes are
    padded with NaN.

    Example:
      >>> from mmcl_jax.data.schema import Entry
      >>> image = Entry(kind="image", shape=(4, 6, 1), dtype="uint8")
      >>> lesions = Entry(kind="boxes", shape=(1, 5), dtype="float32", role="target", of="image")
      >>> schema = Schema({"image": image, "lesions": lesions})
      >>> BoxesKind().fault(np.array([[[0, 0, 7, 4, 0]]], np.float32), "lesions", schema, ())
      (0, 'the box 0, 0, 7, 4 lies outside of its image, which has 6 x 4 pixels')
    """

    name = "boxes"
    axes = ("boxes", "5: left, top, right, bottom, class")
    dtypes = ("float32",)
    baseline = "boxes"

    @property
    def with_article(self) -> str:
        """The kind's name with an article, for messages."""
        return "a set of boxes"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Raise `UserError` as `Kind.check` does, and unless the boxes belong to an image."""
        super().check(name, schema, names)
        shape = schema.entries[name].shape
        check(shape[1] == 5, f"The entry {name!r} has rows of the shape {shape}; {self.with_article} has [boxes, 5].")
        of = pictured(name, schema)
        check(of.kind == "image", f"The entry {name!r} belongs to {schema.entries[name].of!r}, which is not an image.")

    def fill(self, dtype: np.dtype) -> float | int:
        """Return NaN."""
        return np.nan

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with an invalid box, or a box outside of its image, and the reason."""
        height, width, _ = pictured(name, schema).shape
        finite = ~np.isnan(rows)
        if (row := first_true_row(finite.any(axis=2) & ~finite.all(axis=2))) is not None:
            return row, "a box lacks some of its five numbers"
        present = finite.all(axis=2)
        if (row := first_true_row(~present[:, :-1] & present[:, 1:])) is not None:
            return row, "a box follows a missing box (NaN)"
        left, top, right, bottom, code = np.moveaxis(rows, -1, 0)
        outside = present & ~((left >= 0) & (top >= 0) & (right <= width) & (bottom <= height))
        empty = present & ~((left < right) & (top < bottom))
        if (row := first_true_row(outside | empty)) is not None:
            box = rows[row][(outside | empty)[row]][0]
            corners = ", ".join(f"{x:g}" for x in box[:4])
            if not outside[row].any():
                return row, f"the box {corners} is empty"
            return row, f"the box {corners} lies outside of its image, which has {width} x {height} pixels"
        if (row := first_true_row(present & ((code < 0) | (np.rint(code) != code)))) is not None:
            return row, "the class of a box is not a whole number from 0"
        return None

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Return None: boxes need no statistics."""
        return

    def encode(self, rows: np.ndarray, fitted: None) -> np.ndarray:
        """Return the rows unchanged."""
        return rows

    def describe(self, name: str, schema: Schema, names: Sequence[str]) -> list[str]:
        """Return the largest number of boxes, and the name of their image."""
        entry = schema.entries[name]
        return [f"up to {entry.shape[0]} boxes per row, in {entry.of}"]
