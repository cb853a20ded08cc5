"""Pictures that are in memory, in place of a folder of files: what Python callers give to `mj.prepare`."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.pictures.images import Fit, Shape, decoding, fit_image, fit_levels, shape_of_image
from mmcl_jax.prepare.pictures.levels import Levels

Picture = np.ndarray | Image.Image
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Pictures:
    """Pictures of rows, which are named by their index: "0", "1" and so on; None for a row without.

    Arrays are uint8 or uint16, `[H, W]` or `[H, W, C]` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels;
    those of 16 bits are mapped as the pixels of a file of 16 bits. They are made to fit as the same pictures in files
    are, so the store is the same.

    Raises:
      UserError: one of them is no such picture; it is named by its index.
    """

    def __init__(self, pictures: np.ndarray | Sequence[Picture | None]) -> None:
        if isinstance(pictures, np.ndarray):
            shape = " x ".join(map(str, pictures.shape))
            check(pictures.ndim in (3, 4), f"images: an array must be [N, H, W] or [N, H, W, C], not {shape}.")
        for index, picture in enumerate(pictures[:1] if isinstance(pictures, np.ndarray) else pictures):
            _check(picture, f"images: the picture at index {index}")
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def names(self) -> list[str | None]:
        """The name of every row's picture, None for a row without."""
        return [None if picture is None else str(index) for index, picture in enumerate(self._pictures)]

    def fingerprint(self) -> str:
        """Return a hash of all pixels."""
        digest = hashlib.sha256()
        for picture in self._pictures:
            values = None if picture is None else np.ascontiguousarray(picture)
            digest.update(b"none" if values is None else f"{values.dtype.str}{values.shape}".encode())
            digest.update(b"" if values is None else values.data)
        return digest.hexdigest()

    def shape(self, name: str) -> Shape:
        """Return (height, width, channels) of a picture, upright, as `read_shape` does for a file."""
        picture = self._of(name)
        if isinstance(picture, np.ndarray):
            height, width, channels = picture.shape
            return height, width, 1 if channels < 3 else 3
        with decoding(name):
            return shape_of_image(picture)

    def read(self, name: str, shape: Shape, fit: Fit, dtype: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the picture as it is stored and the size that it had, as `read_image` does for a file.

        Raises:
          Unusable: it is absurdly large, or has colour and `shape` has not.
        """
        picture = self._of(name)
        with decoding(name):
            if isinstance(picture, Image.Image):
                return fit_image(picture, name, shape, fit, dtype, keep=True)
            if picture.dtype == np.uint16 and picture.shape[2] > 1:
                return fit_levels(Levels(picture), name, shape, fit, dtype)
            plane = picture[..., 0] if picture.shape[2] == 1 else picture
            return fit_image(Image.fromarray(np.ascontiguousarray(plane)), name, shape, fit, dtype)

    def _of(self, name: str) -> Picture:
        picture = self._pictures[int(name)]
        assert picture is not None
        return picture[..., None] if isinstance(picture, np.ndarray) and picture.ndim == 2 else picture


def _check(picture: object, where: str) -> None:
    if picture is None or isinstance(picture, Image.Image):
        return
    if not isinstance(picture, np.ndarray):
        raise UserError(f"{where} is of the type {type(picture).__name__}; give a NumPy array or a PIL image.")
    kinds = "uint8 or uint16"
    remedy = "; multiply values from 0 to 1 by 255 and round them" if picture.dtype.kind == "f" else ""
    check(picture.dtype in (np.uint8, np.uint16), f"{where} is of the type {picture.dtype}, not {kinds}{remedy}.")
    shape = " x ".join(map(str, picture.shape))
    right = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in _MODES)
    check(right and picture.size > 0, f"{where} has the shape {shape}; give [H, W] or [H, W, C] of 1 to 4 channels.")
