"""Images: pixels of 8 or 16 bits."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mmcl_jax.data.kinds.kind import Kind, chunks, first_true_row
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import check

PICTURES = ("image", "volume")


@dataclasses.dataclass(frozen=True)
class Range:
    """The values `[C]` of each channel that `ImageKind.encode` maps to 0 and 1."""

    low: np.ndarray
    high: np.ndarray


class ImageKind(Kind):
    """`[height, width, channels]`; a row may have several images, up to `Entry.pictures`.

    A mask is an image with the role `target` whose values are class codes; `Entry.of` names its image.

    Example:
      >>> schema = Schema({"image": Entry(kind="image", shape=(1, 2, 1), dtype="uint8")})
      >>> rows = np.array([[[[0], [255]]]], np.uint8)
      >>> ImageKind().encode(rows, ImageKind().fit(rows, "image", schema, ())).tolist()
      [[[[0.0], [1.0]]]]
    """

    name = "image"
    axes: ClassVar[tuple[str, ...]] = ("height", "width", "channels")
    dtypes = ("uint8", "uint16", "float16")
    baseline = "pixels"

    def check(self, name: str, schema: Schema, names: Sequence[str]) -> None:
        """Raise `UserError` as `Kind.check` does, and unless a mask has the size of its image."""
        super().check(name, schema, names)
        entry = schema.entries[name]
        check(entry.shape[-1] > 0, f"The entry {name!r} has no channels.")
        if entry.of:
            image = pictured(name, schema)
            check(
                entry.shape[:-1] == image.shape[:-1],
                f"The mask {name!r} has the size {_size(entry)} and its image {entry.of!r} the size {_size(image)}; "
                "make them equal.",
            )

    def fill(self, dtype: np.dtype) -> float | int:
        """Return 0."""
        return 0

    def can_have_faults(self, entry: Entry) -> bool:
        """Return whether the type of the pixels has values that are not finite."""
        return not entry.dtype.startswith("uint")

    def fault(self, rows: np.ndarray, name: str, schema: Schema, names: Sequence[str]) -> tuple[int, str] | None:
        """Return the first row with a value that is not finite."""
        row = first_true_row(~np.isfinite(rows))
        return None if row is None else (row, "it has a value that is not finite")

    def fit(self, rows: object, name: str, schema: Schema, names: Sequence[str]) -> Range:
        """Return the range of each channel: that of the type for 8-bit pixels, else that of the training rows."""
        entry = schema.entries[name]
        channels = entry.shape[-1]
        if entry.dtype == "uint8":
            return Range(np.zeros(channels), np.full(channels, 255.0))
        low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
        for part in chunks(rows):
            flat = part.reshape(-1, channels)
            low, high = np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0))
        return Range(np.where(np.isfinite(low), low, 0.0), np.where(low < high, high, np.nan_to_num(low, posinf=0) + 1))

    def encode(self, rows: np.ndarray, fitted: Range) -> np.ndarray:
        """Return float32 pixels, scaled so that the fitted range is 0 to 1."""
        low, high = fitted.low.astype(np.float32), fitted.high.astype(np.float32)
        return (rows.astype(np.float32) - low) / (high - low)


def pictured(name: str, schema: Schema) -> Entry:
    """Return the entry that a mask or boxes belong to.

    Raises:
      UserError: the schema has no such entry, or it is neither an image nor a volume.
    """
    entry = schema.entries[name]
    of = schema.entries.get(entry.of)
    images = [other for other, candidate in schema.entries.items() if candidate.kind in PICTURES and other != name]
    if of is None or of.kind not in PICTURES or entry.of == name:
        choices = ", ".join(images) or "none"
        check(False, f"The entry {name!r} belongs to {entry.of!r}, which is no image of the store; it has {choices}.")
    assert of is not None
    return of


def _size(entry: Entry) -> str:
    return " x ".join(map(str, entry.shape[:-1]))
