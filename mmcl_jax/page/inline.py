"""Pictures embedded in a page or a notebook, which need no file beside it."""

import base64
import io

import numpy as np
from PIL import Image

from mmcl_jax.page.html import Html, element


def png(pixels: np.ndarray) -> bytes:
    """Return the bytes of a PNG file with uint8 pixels `[H, W]`, `[H, W, 1]` or `[H, W, 3]`."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def picture(content: bytes, alternative: str, **attributes: str | int) -> Html:
    """Return an `<img>` with the bytes of a PNG file embedded; screen readers read `alternative`."""
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return element("img", src=uri, alt=alternative, **attributes)
