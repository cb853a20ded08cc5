"""What the recipes of LoVT's downstream data sets share: images with boxes and masks, and the released splits."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.chest.tables import number
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.masks.drawn import EMPTY
from mmcl_jax.prepare.recipe import Reader, Recipe, Step
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.splits.draw import read_list

SIZE = (224, 224)
SPLIT = (0.6, 0.2, 0.2)  # of images or patients, where none are given
CORNERS = ("left", "top", "right", "bottom", "class")
_RELEASED = {"train": "train", "val": "validation", "test": "test"}  # the files of a folder of splits
_SHARES = {"train_1": 0.01, "train_10": 0.1}  # the first training rows, of which LoVT's small tasks are made


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion of an image: its class and its box, in pixels of the image's file."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def shape(self) -> str:
        """The box as `images.masks.drawn` draws it."""
        return f"0 {self.left} {self.top} {self.right} {self.bottom}"


def recipe(
    name: str,
    files: Mapping[str, str],
    *,
    images: Path,
    boxes: Mapping[str, Sequence[Lesion]] | None = None,
    classes: Sequence[str] = (),
    targets: Mapping[str, Source] | None = None,
    drawn: Mapping[str, tuple[str, str, Mapping[str, str]]] | None = None,
    positive: Mapping[str, bool] | None = None,
    patients: Mapping[str, str] | None = None,
    splits: Mapping[str, list[str]] | None = None,
    ids: Path | None = None,
    validation_rows: int | None = None,
    steps: Sequence[Step] = (),
    read: Reader | None = None,
    equalise: bool = False,
    pad: bool = True,
) -> Recipe:
    """Return the recipe of images with boxes or masks; every image is a row.

    Boxes and masks are padded with their images. Where a folder of released splits is given, rows have the order of its
    lists, and the first 1 % and 10 % of the training rows are the subsets `train_1` and `train_10`.

    Args:
      name: of the data set.
      files: the file of every image, by key, in order.
      images: the folder that files are relative to.
      boxes: the lesions of images, which become the target `lesions`; None for none.
      classes: of the boxes.
      targets: further targets.
      drawn: masks that are drawn, by name: how, the name of class 1, and the text of each image ("" for an empty mask).
      positive: whether an image shows a lesion, the label `positive`.
      patients: of the images, the groups.
      splits: keys by split; None to draw 60/20/20 %.
      ids: a folder with train.csv, validation.csv and test.csv, as LoVT released them.
      validation_rows: number of first rows of validation.csv that are kept; None for all.
      steps: of the recipe.
      read: of the files.
      equalise: whether histograms are equalised.
      pad: whether images are padded to a square.

    Raises:
      UserError: a list of `ids` is missing, or `validation_rows` is no number of rows or without `ids`.
    """
    subsets: dict[str, list[str]] = {}
    check(validation_rows is None or ids is not None, "--dataset.validation_rows needs --dataset.ids; give both.")
    if ids is not None:
        splits, before = released(ids), len(files)
        train, validation = splits["train"], splits["val"]
        subsets = {subset: train[: max(1, math.floor(share * len(train)))] for subset, share in _SHARES.items()}
        if validation_rows is not None:
            check(validation_rows > 0, f"--dataset.validation_rows={validation_rows} is not a number from 1 on.")
            splits["val"], cut = validation[:validation_rows], set(validation[validation_rows:])
            files = {key: file for key, file in files.items() if key not in cut}
            words = f"images without those behind the first {validation_rows} of validation"
            steps = (*steps, Step(words, before, len(files)))
        listed = [key for keys in splits.values() for key in keys if key in files]
        files = {key: files[key] for key in (*listed, *files)}  # so that the first rows of the store are the first here
    rows = pl.DataFrame({"image": list(files), "file": list(files.values())})
    columns = {"image": Declared(role="identifier", verbatim=True), "file": Declared(role="image")}
    if positive is not None:
        rows = rows.with_columns(pl.Series("positive", [positive[key] for key in files], dtype=pl.Boolean))
        columns["positive"] = Declared(role="label", kind="boolean")
    if patients is not None:
        rows = rows.with_columns(pl.Series("patient", [patients[key] for key in files]))
        columns["patient"] = Declared(role="group", verbatim=True)
    sources, tables = dict(targets or {}), dict[Path, pl.DataFrame]()
    if boxes is not None:
        path = Path(f"boxes of {name}")
        tables[path] = _boxes(files, boxes)
        sources["lesions"] = Source(
            kind="boxes", of="image", file=path, key="image", column=CORNERS, categories=tuple(classes)
        )
    for target, (draw, word, texts) in (drawn or {}).items():
        path = Path(f"{target} of {name}")
        tables[path] = pl.DataFrame({"image": list(files), "mask": [texts.get(key) or EMPTY for key in files]})
        sources[target] = Source(
            kind="mask", of="image", file=path, key="image", column=("mask",), draw=draw,
            classes=(("none", 0), (word, 1)),
        )  # fmt: skip
    return Recipe(
        name=name,
        rows=rows,
        images=images,
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(columns=columns, others="ignore"),
        targets=sources,
        tables=tables,
        required=("image",),
        splits=splits,
        subsets=subsets,
        steps=(*steps, Step("images", rows.height, rows.height)),
        read=read,
        fields={"split": SPLIT, **({"aspect": "pad"} if pad else {}), **({"equalise": True} if equalise else {})},
    )


def by_stem(folder: Path, pattern: str) -> dict[str, str]:
    """Return the files in all folders below a folder, relative to it, by their names without ending.

    Raises:
      UserError: two files have the same name, so that it is unknown which is meant.
    """
    files = dict[str, str]()
    for path in sorted(folder.rglob(pattern)):
        file = path.relative_to(folder).as_posix()
        same = f"--root: {folder} has two files named {path.name}, {files.get(path.stem)} and {file}; move one away."
        check(path.stem not in files, same)
        files[path.stem] = file
    return files


def box_of(cells: Mapping[str, str], sides: Sequence[str], name: str, where: str) -> Lesion:
    """Return the box of a row, whose `sides` are the columns of left, top, width and height.

    Raises:
      UserError: a cell is no number, or the box is empty.
    """
    left, top, width, height = (number(cells[side], where, side) for side in sides)
    sentence = f"{where}: the box has the width {width:g} and the height {height:g}; both must be positive."
    check(width > 0 and height > 0, sentence)
    return Lesion(name=name, left=left, top=top, right=left + width, bottom=top + height)


def released(folder: Path) -> dict[str, list[str]]:
    """Return the keys of train.csv, validation.csv and test.csv. Raises `UserError` if one of them is missing."""
    paths = {split: folder / f"{word}.csv" for split, word in _RELEASED.items()}
    for path in paths.values():
        check(path.is_file(), f"--dataset.ids: {path} does not exist; name the folder of the released lists.")
    return {split: read_list(paths[split]) for split in SPLITS}


def read_grey(path: Path) -> np.ndarray:
    """Return an image as uint8 `[H, W, 1]`, the mean of its colours.

    Raises:
      UserError: it is no image of 8 bits, grey or in colour.
    """
    with Image.open(path) as image:
        if image.mode not in ("L", "RGB"):
            raise UserError(f"The image {path} has the mode {image.mode}; radiographs are read if they are L or RGB.")
        values = np.asarray(image)
    return values[..., None] if values.ndim == 2 else np.rint(values.mean(axis=2, keepdims=True)).astype(np.uint8)


def _boxes(files: Mapping[str, str], boxes: Mapping[str, Sequence[Lesion]]) -> pl.DataFrame:
    """Return a row per box, and a row with empty cells for an image without boxes."""
    rows: list[tuple[Any, ...]] = []
    for key in files:
        found = boxes.get(key, ())
        rows += [(key, box.left, box.top, box.right, box.bottom, box.name) for box in found]
        rows += [] if found else [(key, None, None, None, None, None)]
    types = dict.fromkeys(CORNERS[:4], pl.Float64)
    return pl.DataFrame(rows, schema={"image": pl.String, **types, "class": pl.String}, orient="row")
