"""The section about images: facts about the files, and a contact sheet of images in the store."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmcl_jax.page import charts
from mmcl_jax.page.html import Child, Html, element, name, section
from mmcl_jax.page.wording import clipped, count, number, share
from mmcl_jax.prepare.card.findings import Findings

_EXACT = 128  # images of at most this height and width are embedded without loss
_LARGEST = 320  # larger images are shrunk to this: the page is for viewing, the store has all pixels
_SIZES = 8  # that are listed
_STRIP = 8  # images


def contact_sheet(findings: Findings, images: Sequence[tuple[str, np.ndarray]]) -> Html:
    """Return the section: facts about the files, their sizes, and the images with their captions."""
    facts = [
        element("div", element("dt", _title(key)), element("dd", _fact(value)))
        for key, value in findings.images.items()
        if key != "sizes"
    ]
    sheet = element("ul", [figure(caption, pixels) for caption, pixels in images], class_="sheet")
    return section(
        "images",
        "Images",
        element("dl", facts, class_="facts") if facts else None,
        _sizes(findings.images.get("sizes", ())),
        sheet if images else element("p", "No image is shown here.", class_="calm"),
    )


def strip(images: Sequence[tuple[str, np.ndarray]]) -> Html | None:
    """Return the first few images side by side, for the head of the page; the contact sheet has their captions."""
    shown = [_image(pixels, alt="") for _, pixels in images[:_STRIP]]
    return element("div", shown, class_="hero", aria_hidden="true") if shown else None


def data_uri(pixels: np.ndarray) -> str:
    """Return an image as a `data:` URI: as PNG, without loss, if it is small, and otherwise as JPEG.

    Args:
      pixels: `[H, W, C]` uint8. One channel is shown in grey, three in colour; of two channels the first is shown, of
        more than three the first three.
    """
    channels = pixels.shape[2]
    shown = pixels[..., :3] if channels >= 3 else pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(shown))
    file = io.BytesIO()
    if max(image.size) <= _EXACT:
        image.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        image.thumbnail((_LARGEST, _LARGEST))
        image.save(file, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def figure(caption: str, pixels: np.ndarray) -> Html:
    """Return an image with its caption, as an item of a sheet."""
    image = _image(pixels, alt=f"Image of {clipped(caption, 120)}" if caption else "Image")
    return element("li", element("figure", image, element("figcaption", name(caption, 40))))


def _image(pixels: np.ndarray, *, alt: str) -> Html:
    height, width = pixels.shape[:2]
    few = "pixels" if max(height, width) <= 64 else None  # drawn as squares: smoothing would hide how few
    return element("img", src=data_uri(pixels), alt=alt, width=width, height=height, class_=few)


def _sizes(sizes: Sequence[tuple[str, int]]) -> Html | None:
    if not sizes:
        return None
    files = sum(rows for _, rows in sizes)
    shown = sizes[:_SIZES]
    lines: list[tuple[Child, float, str]] = [
        (str(size), float(rows), f"{count(rows)} ({share(rows, files)})") for size, rows in shown
    ]
    hidden = len(sizes) - len(shown)
    rest = files - sum(rows for _, rows in shown)
    more = element("p", f"and {count(hidden)} other sizes, {share(rest, files)} of files", class_="moments")
    return element(
        "div", element("h3", "Sizes of the files"), charts.bars(lines, files), more if hidden else None, class_="single"
    )


def _title(key: str) -> str:
    return key[:1].upper() + key[1:].replace("_", " ")


def _fact(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return count(value) if isinstance(value, int) else number(value)
