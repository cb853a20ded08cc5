"""Digits with a table that is computed from the image alone: the control for what a table adds."""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from scipy import ndimage

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.files import atomic
from mmcl_jax.prepare.recipe import Recipe, Step

INK = 16  # grey levels above white in scikit-learn's images
_TAGS = {
    "morphometric": (
        *("area", "height", "width", "aspect", "extent", "perimeter", "compactness", "holes", "parts"),
        *("long_axis", "short_axis", "eccentricity"),
    ),
    "moments": (
        *("ink", "centre_x", "centre_y", "variance_x", "variance_y", "covariance", "orientation"),
        *("skewness_x", "skewness_y", "hu_3"),
    ),
    "symmetry": ("symmetry_x", "symmetry_y"),
    "profile": ("peak_row", "peak_column", "strokes_across", "strokes_down"),
}
_UNITS = dict.fromkeys(("height", "width", "perimeter", "long_axis", "short_axis", "centre_x", "centre_y"), "pixels")


def measured(*, root: Path) -> Recipe:
    """Return scikit-learn's 1,797 scanned digits, 8 x 8 pixels, and 28 numbers measured on each image.

    The table holds nothing that is not in the image, so both are views of the same information. A table of facts that
    the image hides, such as that of the quickstart's digits, can teach an image encoder by contrast; this table cannot,
    and multimodal pretraining is not expected to beat pretraining on images alone. A method that seems to help here
    helps for another reason than the table's information.

    The data set comes with scikit-learn (UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998, test
    part), so nothing is downloaded. The label is `digit`. Numbers that measure size and shape are tagged
    "morphometric"; the others "moments", "symmetry" and "profile".

    Args:
      root: folder for the images, which are written as PNG files with 15 times the grey level; made if missing.

    Raises:
      UserError: `root` is a file, or a file in it is another image.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    images = source.images.astype(np.uint8)
    folder = root / "images"
    check(not root.is_file(), f"--root: {root} is a file; name a folder for the images.")
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:04d}.png" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        _write_once(folder / name, image * (240 // INK))
    rows = pl.DataFrame(
        {"id": [f"digit_{name[:4]}" for name in names], "file": names, "digit": [str(y) for y in source.target]}
    ).hstack(pl.DataFrame([measures(image / INK) for image in images]))
    declared = {
        "id": Declared(role="identifier"),
        "file": Declared(role="image"),
        "digit": Declared(role="label", kind="categorical"),
    }
    for tag, columns in _TAGS.items():
        for name in columns:
            declared[name] = Declared(role="feature", kind="continuous", unit=_UNITS.get(name, ""), tags=(tag,))
    return Recipe(
        name="measured",
        rows=rows,
        images=folder,
        image_columns=("file",),
        declaration=Declaration(columns=declared, others="ignore"),
        steps=(Step("scanned digits of scikit-learn, each measured", rows.height, rows.height),),
    )


def measures(image: np.ndarray) -> dict[str, float]:
    """Return the measurements of one image, by column.

    x runs to the right and y downwards, both from the middle of the image, in pixels. The shape consists of the pixels
    with at least half of the ink that a pixel can hold; pixels that touch at a corner are connected. Moments are
    weighted by ink.

    Args:
      image: `[H, W]`, ink from 0 to 1.

    Raises:
      ValueError: no pixel holds half of the ink, so there is no shape.
    """
    shape = image >= 0.5
    if not shape.any():
        raise ValueError("no pixel of the image holds half of the ink")
    return {**_size(shape), **_moments(image), **_symmetry_and_strokes(image, shape)}


def _size(shape: np.ndarray) -> dict[str, float]:
    area = int(shape.sum())
    height, width = (int(np.ptp(np.flatnonzero(shape.any(axis=axis)))) + 1 for axis in (1, 0))
    around = np.pad(shape, 1)
    perimeter = sum(int((np.diff(around.astype(np.int8), axis=axis) != 0).sum()) for axis in (0, 1))
    return {
        "area": area,
        "height": height,
        "width": width,
        "aspect": width / height,
        "extent": area / (height * width),
        "perimeter": perimeter,
        "compactness": 16 * area / perimeter**2,  # 1 for a square, the most that a shape of pixels can have
        "holes": ndimage.label(~around)[1] - 1,  # parts of the background, without the outside
        "parts": ndimage.label(shape, np.ones((3, 3)))[1],
    }


def _moments(image: np.ndarray) -> dict[str, float]:
    ink = image.sum()
    y, x = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    weight = image / ink
    centre_y, centre_x = weight.sum(axis=1) @ y, weight.sum(axis=0) @ x
    y, x = y - centre_y, x - centre_x

    def moment(p: int, q: int) -> float:
        return float(y**q @ weight @ x**p)

    xx, yy, xy = moment(2, 0), moment(0, 2), moment(1, 1)
    short, long = np.sqrt(np.maximum(np.linalg.eigvalsh([[xx, xy], [xy, yy]]), 0))
    # Hu's third invariant, of moments mu_pq / mu_00^(1 + (p + q) / 2); mu_pq is ink * moment(p, q).
    third = (moment(3, 0) - 3 * moment(1, 2)) ** 2 + (3 * moment(2, 1) - moment(0, 3)) ** 2
    return {
        "long_axis": long,
        "short_axis": short,
        "eccentricity": np.sqrt(1 - (short / long) ** 2) if long else 0.0,
        "ink": ink,
        "centre_x": centre_x,
        "centre_y": centre_y,
        "variance_x": xx,
        "variance_y": yy,
        "covariance": xy,
        "orientation": np.arctan2(2 * xy, xx - yy) / 2,
        "skewness_x": moment(3, 0) / xx**1.5 if xx else 0.0,
        "skewness_y": moment(0, 3) / yy**1.5 if yy else 0.0,
        "hu_3": third / ink**3,
    }


def _symmetry_and_strokes(image: np.ndarray, shape: np.ndarray) -> dict[str, float]:
    """Return mirror symmetries (1: perfect), the peaks of the profiles, and the most strokes that a line crosses."""

    def mirrored(axis: int) -> float:
        return 1 - np.abs(image - np.flip(image, axis)).sum() / (2 * image.sum())

    def strokes(axis: int) -> int:
        return int((np.diff(np.pad(shape, 1).astype(np.int8), axis=axis) == 1).sum(axis=axis).max())

    return {
        "symmetry_x": mirrored(1),
        "symmetry_y": mirrored(0),
        "peak_row": int(image.sum(axis=1).argmax()),
        "peak_column": int(image.sum(axis=0).argmax()),
        "strokes_across": strokes(1),
        "strokes_down": strokes(0),
    }


def _write_once(path: Path, image: np.ndarray) -> None:
    if path.exists():
        check(_holds(path, image), f"--root: {path} exists and is another image; name a new folder.")
        return
    with atomic(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def _holds(path: Path, image: np.ndarray) -> bool:
    try:
        with Image.open(path) as stored:
            return np.array_equal(np.asarray(stored), image)
    except OSError:  # not an image
        return False
