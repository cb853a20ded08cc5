"""Images in memory, which Python callers give to `mj.prepare` in place of a folder of files."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.files import Fit, Shape, decoding, fit_image, fit_levels, shape_of_image
from mmcl_jax.prepare.images.levels import Levels

AnyImage = np.ndarray | Image.Image
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class ImageArrays:
    """The images of rows, by index: image 3 is named "3". A row without an image has None.

    An image is a PIL image, or an array of uint8 or uint16, `[H, W]` or `[H, W, C]` with 1 (grey), 2 (grey, alpha),
    3 (RGB) or 4 (RGBA) channels. The store is the same as from files that hold the same pixels.

    Raises:
      UserError: an image has another type or shape; the message names its index.
    """

    def __init__(self, images: np.ndarray | Sequence[AnyImage | None]) -> None:
        if isinstance(images, np.ndarray):
            shape = " x ".join(map(str, images.shape))
            check(images.ndim in (3, 4), f"images: an array must be [N, H, W] or [N, H, W, C], not {shape}.")
        for index, image in enumerate(images[:1] if isinstance(images, np.ndarray) else images):
            _check(image, f"images: the image at index {index}")
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @property
    def names(self) -> list[str | None]:
        """The name of every row's image; None for a row without an image."""
        return [None if image is None else str(index) for index, image in enumerate(self._images)]

    def fingerprint(self) -> str:
        """Return a hash of all pixels."""
        digest = hashlib.sha256()
        for image in self._images:
            values = None if image is None else np.ascontiguousarray(image)
            digest.update(b"none" if values is None else f"{values.dtype.str}{values.shape}".encode())
            digest.update(b"" if values is None else values.data)
        return digest.hexdigest()

    def shape(self, name: str) -> Shape:
        """Return (height, width, channels) of an upright image, as `read_shape` does for a file."""
        image = self._image(name)
        if isinstance(image, np.ndarray):
            height, width, channels = image.shape
            return height, width, 1 if channels < 3 else 3
        with decoding(name):
            return shape_of_image(image)

    def read(self, name: str, shape: Shape, fit: Fit, dtype: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Return an image in the stored shape and its original size, as `read_image` does for a file.

        Raises:
          Unusable: it has more than `fit.max_pixels`, or has colour while `shape` is grey.
        """
        image = self._image(name)
        with decoding(name):
            if isinstance(image, Image.Image):
                return fit_image(image, name, shape, fit, dtype, keep=True)
            if image.dtype == np.uint16 and image.shape[2] > 1:
                return fit_levels(Levels(image), name, shape, fit, dtype)
            plane = image[..., 0] if image.shape[2] == 1 else image
            return fit_image(Image.fromarray(np.ascontiguousarray(plane)), name, shape, fit, dtype)

    def _image(self, name: str) -> AnyImage:
        image = self._images[int(name)]
        assert image is not None
        return image[..., None] if isinstance(image, np.ndarray) and image.ndim == 2 else image


def _check(image: object, where: str) -> None:
    if image is None or isinstance(image, Image.Image):
        return
    if not isinstance(image, np.ndarray):
        raise UserError(f"{where} is of the type {type(image).__name__}; give a NumPy array or a PIL image.")
    remedy = "; multiply values from 0 to 1 by 255 and round them" if image.dtype.kind == "f" else ""
    check(image.dtype in (np.uint8, np.uint16), f"{where} has the type {image.dtype}, not uint8 or uint16{remedy}.")
    shape = " x ".join(map(str, image.shape))
    valid = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in _MODES)
    check(valid and image.size > 0, f"{where} has the shape {shape}; give [H, W], or [H, W, C] with 1 to 4 channels.")
