"""What a kept dense head finds: images of the test split with their boxes or masks, and with those that were found."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from mmcl_jax.page.html import Html, element
from mmcl_jax.page.inline import picture, png
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.card.glance import grey_or_colour

SHOWN = 8  # images, of which a quarter has no box or mask, if there are such
_SIDE = 168  # pixels of the longer side
_TRUE, _FOUND = (90, 220, 120), (255, 150, 30)
_LINE = 2  # pixels


def chosen(some: np.ndarray, most: int = SHOWN) -> np.ndarray:
    """Return the images to show, evenly spread over those that have `some` `[N]` box or mask, and those without.

    Example:
      >>> chosen(np.arange(20) % 2 == 0, 4).tolist()
      [0, 8, 18, 1]
    """
    without = np.flatnonzero(~some)[: most // 4]
    having = np.flatnonzero(some)
    spread = np.linspace(0, len(having) - 1, min(len(having), most - len(without))).astype(int)
    return np.concatenate([having[spread], without])


def drawn(image: np.ndarray, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return an image `[H, W, C]`, enlarged, with its boxes `[m, 5]` in green and those found `[n, 6]` in orange."""
    enlarged, scale = _enlarged(image)
    draw = ImageDraw.Draw(enlarged)
    for boxes, colour in ((true[~np.isnan(true[:, 0])], _TRUE), (found, _FOUND)):
        for box in boxes:
            left, top, right, bottom = np.clip(box[:4] * scale, 0, [*enlarged.size, *enlarged.size])
            draw.rectangle([left, top, max(right - 1, left), max(bottom - 1, top)], outline=colour, width=_LINE)
    return np.asarray(enlarged)


def outlined(image: np.ndarray, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return an image `[H, W, C]`, enlarged, with lines around its mask, bool `[h, w]`, and around the one found."""
    enlarged, _ = _enlarged(image)
    for mask, colour in ((true, _TRUE), (found, _FOUND)):
        whole = Image.fromarray(mask.astype(np.uint8) * 255).resize(enlarged.size, Image.Resampling.NEAREST)
        inner = ImageOps.expand(whole, _LINE).filter(ImageFilter.MinFilter(2 * _LINE + 1))
        inner = ImageOps.crop(inner, _LINE)
        line = (np.asarray(whole) > 0) & (np.asarray(inner) == 0)
        enlarged.paste(colour, mask=Image.fromarray(line))
    return np.asarray(enlarged)


def found_boxes(images: np.ndarray, true: np.ndarray, found: list[np.ndarray]) -> Html:
    """Return the pictures of images `[n, H, W, C]` with their boxes `[n, M, 5]` and what was found in them."""
    shown = []
    for image, boxes, of_image in zip(images, true, found, strict=True):
        count = int((~np.isnan(boxes[:, 0])).sum())
        scores = ", ".join(f"{score:.2f}" for score in sorted(of_image[:, 5], reverse=True)[:3])
        words = f"{counted(count, 'box', 'boxes')}; {len(of_image)} found" + (f" ({scores})" if scores else "")
        shown.append(_figure(drawn(image, boxes, of_image), words))
    return _figures("True boxes are green, those found orange; in brackets the highest scores.", shown)


def found_masks(images: np.ndarray, true: np.ndarray, found: np.ndarray) -> Html:
    """Return the pictures of images `[n, H, W, C]` with their masks, bool `[n, h, w]`, and those that were found."""
    shown = []
    for image, mask, of_image in zip(images, true, found, strict=True):
        right = int((mask & of_image).sum())
        words = f"{counted(int(mask.sum()), 'pixel')}; {int(of_image.sum()):,} found, {right:,} of them right"
        shown.append(_figure(outlined(image, mask, of_image), words))
    return _figures("A green line is around the true mask, an orange one around what was found.", shown)


def _enlarged(image: np.ndarray) -> tuple[Image.Image, float]:
    base = grey_or_colour(image)
    colours = np.repeat(base, 3, axis=-1) if base.shape[-1] == 1 else base
    scale = _SIDE / max(colours.shape[:2])
    size = round(colours.shape[1] * scale), round(colours.shape[0] * scale)
    return Image.fromarray(np.ascontiguousarray(colours)).resize(size, Image.Resampling.BILINEAR), scale


def _figure(pixels: np.ndarray, words: str) -> Html:
    file = picture(png(pixels), f"An image with {words}")
    return element("li", element("figure", file, element("figcaption", words, class_="calm")))


def _figures(note: str, shown: list[Html]) -> Html:
    return element("div", element("p", note, class_="calm"), element("ul", shown, class_="overlays"))
