"""The HTML by which a store shows itself in a notebook: its entries, its rows, and a few of its images."""

from typing import TYPE_CHECKING

import numpy as np

from mmcl_jax.data.kinds import KINDS
from mmcl_jax.page.html import Html, element, fragment, name, table
from mmcl_jax.page.inline import picture, png

if TYPE_CHECKING:
    from mmcl_jax.data.store import Store

_PICTURES = 8
_SIDE = 96  # pixels of the screen


def shown(store: "Store") -> Html:
    """Return the store as HTML; names from the user's table are escaped."""
    rows = []
    for entry_name, entry in store.schema.entries.items():
        if entry_name == store.schema.first("table", "target"):
            labels = (f"{label.name} ({len(label.categories) or label.kind})" for label in store.schema.labels)
            content = ", ".join(labels)
        else:
            content = "; ".join(KINDS[entry.kind].describe(entry_name, store.schema, store.names(entry_name)))
        missing = "some rows lack it" if entry.optional else ""
        rows.append((entry_name, entry.kind, entry.role, content, missing))
    sizes = ", ".join(f"{split} {size:,}" for split, size in store.sizes.items())
    return fragment(
        element("p", element("b", "Store "), name(store.directory), f": {sizes} rows"),
        table("Entries", ["entry", "kind", "role", "content", ""], rows, captioned=False),
        element("div", _pictures(store)),
        element("ul", [element("li", line) for line in store.warnings]) if store.warnings else None,
    )


def _pictures(store: "Store") -> list[Html]:
    """Return a few images of the training split as `<img>` elements, `_SIDE` pixels wide."""
    entry = store.schema.first("image")
    if entry is None:
        return []
    rows = store.read("train", [entry])[entry]
    pictures = []
    for row in np.linspace(0, len(rows) - 1, min(len(rows), _PICTURES)).astype(int):
        pixels = np.asarray(rows[int(row)])
        pixels = pixels[0] if pixels.ndim == 4 else pixels  # the first of several images of a row
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        pixels = pixels if pixels.shape[2] == 3 else pixels[..., :1]
        height = round(_SIDE * pixels.shape[0] / pixels.shape[1])
        pictures.append(picture(png(pixels), f"row {row} of train", width=_SIDE, height=height, style="margin:2px"))
    return pictures
