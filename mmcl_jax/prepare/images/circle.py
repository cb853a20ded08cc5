"""Finding the round field of view in a photograph of the back of the eye, and cropping to it or to what is not black.

pip install "mmcl_jax[fundus]"        # OpenCV, for the circle
"""

import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.unusable import require

Box = tuple[int, int, int, int]  # left, top, right and bottom, in pixels of the file; it may reach beyond the image
Crop = Literal["circle", "middle", "none"]
LONGEST = 256  # pixels of the longer side of the image in which the circle is found
BLUR, DISTANCE = 3, 6  # side of the median filter, distance of circles: 25 and 50 of a photograph's 2,048 pixels
VOTES = 20  # edge pixels that speak for a circle, of some 600
MARGIN = 5  # pixels of the file around the circle
BUFFER, BLACK = 10, 10  # pixels around the middle; mean of a column that counts as black


def opencv() -> Any:
    """Return the module cv2.

    Raises:
      UserError: OpenCV is not installed.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise UserError(
            'Circles in photographs are found with OpenCV; install it with pip install "mmcl_jax[fundus]".'
        ) from error
    cv2.setNumThreads(1)  # for images this small, threads cost more than they save
    return cv2


def find_circle(image: Image.Image) -> Box | None:
    """Return the box around the field of view, or None if no circle is found.

    As in the released code of ContIG, the image becomes grey and is blurred by a median filter, and OpenCV's Hough
    transform looks for circles with a radius of at least a quarter of the shorter side; the first circle, which most
    edges speak for, counts, with a margin of 5 pixels. The released code does so at full size, where the transform
    takes gigabytes. Here, the image is scaled to 256 pixels, and the filter and the distance of circles from a camera's
    2,048 pixels likewise, so that the same circle is found in a photograph of any size.

    Args:
      image: an RGB or grey image.

    Raises:
      UserError: OpenCV is not installed.
    """
    cv2 = opencv()
    scale = LONGEST / max(image.size)
    size = tuple(max(1, round(scale * length)) for length in image.size)
    grey = np.asarray(image.convert("L").resize((size[0], size[1]), Image.Resampling.BILINEAR))
    circles = cv2.HoughCircles(
        cv2.medianBlur(grey, BLUR),
        cv2.HOUGH_GRADIENT,
        dp=1,
        minDist=DISTANCE,
        param2=VOTES,
        minRadius=min(size) // 4,
    )
    if circles is None:
        return None
    x, y, radius = (float(value) / scale for value in np.reshape(circles, (-1, 3))[0])
    corners = x - radius - MARGIN, y - radius - MARGIN, x + radius + MARGIN, y + radius + MARGIN
    left, top, right, bottom = map(round, corners)
    return left, top, right, bottom


def middle(image: Image.Image) -> Image.Image:
    """Return the image without the black columns at its left and right, padded with black to a square.

    Columns count as black if their mean is below 10; ten pixels of them stay. An image without black columns on either
    side of its middle is padded alone.
    """
    columns = np.asarray(image.convert("RGB"), np.float32).mean(axis=(0, 2))
    half, black = image.width // 2, np.flatnonzero(columns < BLACK)
    left, right = black[black < half], black[black > half]
    if len(left) and len(right):
        image = image.crop((int(left[-1]) - BUFFER, 0, int(right[0]) + BUFFER, image.height))
    side = max(image.size)
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def read_eye(path: Path, *, crop: Crop = "circle", otherwise: Crop | None = None) -> np.ndarray:
    """Return a photograph `[H, W, 3]` uint8, cropped.

    Args:
      path: an image file.
      crop: "circle" crops to the box of `find_circle`, with black beyond the image; "middle" as `middle` does; "none"
        crops nothing.
      otherwise: what is done without a circle; None refuses the image.

    Raises:
      Unusable: no circle is found.
      UserError: OpenCV is not installed.
    """
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    box = find_circle(image) if crop == "circle" else None
    if crop == "circle" and box is None:
        require(otherwise is not None, "no circle", f"The photograph {path} shows no round field of view.")
        crop = otherwise or "none"
    if box is not None:
        image = image.crop(box)
    return np.asarray(middle(image) if crop == "middle" else image)


def brightness(path: Path, *, crop: Crop = "circle") -> float | None:
    """Return the mean of the pixels of a photograph, from 0 to 255; None if it has no circle or cannot be read.

    The image is read at a reduced size, at least 256 pixels, which changes the mean little.
    """
    try:
        with Image.open(path) as file:
            file.draft("RGB", (LONGEST, LONGEST))
            image = file.convert("RGB")
    except Exception:  # Pillow raises errors of many types; the image is read again, and listed, when it is prepared
        return None
    if crop == "circle":
        box = find_circle(image)
        if box is None:
            return None
        image = image.crop(box)
    return float(np.asarray(image, np.float32).mean())
