"""Object-CXR: radiographs with foreign objects, marked by boxes, ellipses and polygons.

root/input/train.csv, dev.csv          image_name, annotation: `0 x0 y0 x1 y1;1 x0 y0 x1 y1;2 x y x y x y ...`
     input/train/NAME.jpg, dev/NAME.jpg

or without the folder `input`.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mmcl_jax.datasets.chest.downstream import Lesion, read_grey, recipe
from mmcl_jax.datasets.chest.tables import read_csv
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.masks.drawn import shapes_of
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.text import words_of

CLASS = "foreign_object"
_PARTS = ("train", "dev")  # the official test set has no annotations, so LoVT tests on dev
_VALIDATION = 0.2  # of the images of train
_SEED = 0


def object_cxr(
    *,
    root: Path,
    ids: Path | None = None,
    boxes: Literal["right", "released"] = "right",
    equalise: bool = True,
    pad: bool = True,
) -> Recipe:
    """Return Object-CXR: an image with the boxes `lesions` of its foreign objects and their `mask` per row.

    The box of an ellipse or a polygon is the smallest around it. In the mask, ellipses are their boxes, and polygons
    polygons.

    Args:
      root: the folder of the data set.
      ids: the folder of the released train.csv, validation.csv and test.csv; by default test is dev, and a fifth of
        train is drawn for validation.
      boxes: "released" exchanges the width and the height of every box and x and y of polygons in masks, as the
        released code does; what then lies outside of the image is cut off.
      equalise: whether histograms are equalised.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing, or a row of a table is wrong.
    """
    check(boxes in ("right", "released"), f"--dataset.boxes={boxes} is neither right nor released.")
    base = root / "input" if (root / "input").is_dir() else root
    files, lesions, texts = dict[str, str](), dict[str, list[Lesion]](), dict[str, str]()
    parts, lost = dict[str, list[str]](), 0
    for part in _PARTS:
        path = base / f"{part}.csv"
        table = read_csv(path, ("image_name", "annotation"))
        check((base / part).is_dir(), f"--root: the folder {base / part} does not exist.")
        keys = parts[part] = []
        for row, (name, text) in enumerate(table.select("image_name", "annotation").iter_rows(), start=1):
            where, key = f"{path}, row {row}", Path(name).stem
            check(name.endswith(".jpg") and "/" not in name, f"{where}: image_name is {name!r}, not like 00001.jpg.")
            check(key not in files, f"{where}: the image {key} has a row already; keep one.")
            keys.append(key)
            files[key], texts[key] = f"{part}/{name}", text
            found = shapes_of(text, where) if text else []
            lesions[key] = [_lesion(points) for _, points in found]
            if boxes == "released" and found:
                height, width = _size(base / files[key])
                swapped = [_swapped(lesion, height, width) for lesion in lesions[key]]
                lesions[key] = [lesion for lesion in swapped if lesion is not None]
                lost += len(swapped) - len(lesions[key])
                texts[key] = _exchanged(found, height, width)
    steps = [Step(f"images with {sum(map(len, lesions.values()))} objects", len(files), len(files))]
    if lost:
        steps.append(Step(f"{lost} objects lie outside of their image, as released", len(files), len(files)))
    order = np.random.RandomState(_SEED).permutation(len(parts["train"]))
    held = set(order[: round(_VALIDATION * len(order))].tolist())
    train = [key for index, key in enumerate(parts["train"]) if index not in held]
    val = [key for index, key in enumerate(parts["train"]) if index in held]
    return recipe(
        "object_cxr",
        files,
        images=base,
        boxes=lesions,
        classes=(CLASS,),
        drawn={"mask": ("shapes", CLASS, texts)},
        positive={key: bool(found) for key, found in lesions.items()},
        splits={"train": train, "val": val, "test": parts["dev"]},
        ids=ids,
        pad=pad,
        equalise=equalise,
        read=read_grey,
        steps=steps,
    )


def _lesion(points: np.ndarray) -> Lesion:
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Lesion(name=CLASS, left=left, top=top, right=right, bottom=bottom)


def _size(path: Path) -> tuple[int, int]:
    """Return the (height, width) of an image. Raises `UserError` if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f"The image {path} cannot be read: {words_of(error)}.") from error


def _swapped(lesion: Lesion, height: int, width: int) -> Lesion | None:
    """Return a box with its width as height and its height as width, cut to the image; None if nothing is left."""
    right = min(lesion.left + lesion.bottom - lesion.top, width)
    bottom = min(lesion.top + lesion.right - lesion.left, height)
    if right <= lesion.left or bottom <= lesion.top:
        return None
    return Lesion(name=lesion.name, left=lesion.left, top=lesion.top, right=right, bottom=bottom)


def _exchanged(shapes: list[tuple[str, np.ndarray]], height: int, width: int) -> str:
    """Return shapes as a text, polygons with x and y exchanged and cut to the image by moving points to its border."""
    parts = []
    for kind, points in shapes:
        if kind == "2":
            points = np.minimum(points[:, ::-1], [width, height])
            if not (points.max(axis=0) > points.min(axis=0)).all():
                continue
        parts.append(" ".join([kind, *(f"{value:g}" for value in points.ravel())]))
    return ";".join(parts)
