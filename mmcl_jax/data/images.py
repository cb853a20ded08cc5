"""Reading image files to fixed-shape uint8 arrays."""

from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from mmcl_jax.errors import UserError, check

RESIZE = "bilinear, antialiased, aspect ratio not kept"
_CHANNELS = {1: "L", 3: "RGB"}

# A decompression bomb is a small file that decodes to a huge picture; Pillow raises above twice this many pixels.
Image.MAX_IMAGE_PIXELS = 1 << 28


def locate(root: Path, name: str) -> Path:
    """The file `name` under `root`.

    Raises:
      UserError: the path is absolute, leaves `root` (by `..` or by a link), or is not a file.
    """
    relative = PurePosixPath(name)
    path = root / relative
    inside = not relative.is_absolute() and path.resolve().is_relative_to(root.resolve())
    check(inside, f"The image path {name!r} leaves the image folder {root}.")
    check(path.is_file(), f"The image {path} does not exist.")
    return path


def read_size(path: Path) -> tuple[int, int, int]:
    """`(height, width, channels)` from the header alone; anything but 8-bit grey counts as 3 channels.

    Raises:
      UserError: the file is not a readable image, or has more than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            check(
                not image.mode.startswith(("I", "F")),
                f"The image {path} has more than 8 bits per channel (mode {image.mode}); convert it to 8 bits.",
            )
            channels = 1 if image.mode in ("L", "1") else 3
            return image.height, image.width, channels
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The image {path} cannot be read: {error}.") from error


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """The image as uint8 `[height, width, channels]`, resized (bilinear, antialiased) if it has another size.

    Raises:
      UserError: the file cannot be decoded.
    """
    height, width, channels = shape
    try:
        with Image.open(path) as image:
            pixels = image.convert(_CHANNELS[channels])
            if pixels.size != (width, height):
                pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(pixels, np.uint8).reshape(shape)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The image {path} cannot be read: {error}.") from error
