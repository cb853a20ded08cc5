"""What a kept detector finds: images of the test split with their boxes, and with those that were found."""

import numpy as np
from PIL import Image, ImageDraw

from mmcl_jax.page.html import Html, element
from mmcl_jax.page.inline import picture, png
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.card.glance import grey_or_colour

SHOWN = 8  # images, of which a quarter has no box, if there are such
_SIDE = 168  # pixels of the longer side
_TRUE, _FOUND = (90, 220, 120), (255, 150, 30)


def chosen(boxes: np.ndarray, most: int = SHOWN) -> np.ndarray:
    """Return the images to show, evenly spread over those with boxes and those without.

    Example:
      >>> boxes = np.full((20, 1, 5), np.nan)
      >>> boxes[::2] = 1
      >>> chosen(boxes, 4).tolist()
      [0, 8, 18, 1]
    """
    some = ~np.isnan(boxes[:, 0, 0])
    without = np.flatnonzero(~some)[: most // 4]
    having = np.flatnonzero(some)
    spread = np.linspace(0, len(having) - 1, min(len(having), most - len(without))).astype(int)
    return np.concatenate([having[spread], without])


def drawn(image: np.ndarray, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return an image `[H, W, C]`, enlarged, with its boxes `[m, 5]` in green and those found `[n, 6]` in orange."""
    base = grey_or_colour(image)
    colours = np.repeat(base, 3, axis=-1) if base.shape[-1] == 1 else base
    scale = _SIDE / max(colours.shape[:2])
    size = round(colours.shape[1] * scale), round(colours.shape[0] * scale)
    enlarged = Image.fromarray(np.ascontiguousarray(colours)).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(enlarged)
    for boxes, colour in ((true[~np.isnan(true[:, 0])], _TRUE), (found, _FOUND)):
        for box in boxes:
            left, top, right, bottom = np.clip(box[:4] * scale, 0, [*size, *size])
            draw.rectangle([left, top, max(right - 1, left), max(bottom - 1, top)], outline=colour, width=2)
    return np.asarray(enlarged)


def found_boxes(images: np.ndarray, true: np.ndarray, found: list[np.ndarray]) -> Html:
    """Return the pictures of images `[n, H, W, C]` with their boxes `[n, M, 5]` and what was found in them."""
    shown = []
    for image, boxes, of_image in zip(images, true, found, strict=True):
        count = int((~np.isnan(boxes[:, 0])).sum())
        scores = ", ".join(f"{score:.2f}" for score in sorted(of_image[:, 5], reverse=True)[:3])
        words = f"{counted(count, 'box', 'boxes')}; {len(of_image)} found" + (f" ({scores})" if scores else "")
        file = picture(png(drawn(image, boxes, of_image)), f"An image with {words}")
        shown.append(element("li", element("figure", file, element("figcaption", words, class_="calm"))))
    note = "True boxes are green, those found orange; in brackets the highest scores."
    return element("div", element("p", note, class_="calm"), element("ul", shown, class_="overlays"))
