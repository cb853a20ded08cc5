"""MNIST-SVHN: every digit of one data set paired with digits of the same class of another, without copying a pixel."""

import itertools
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64
from PIL import Image

from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.schema import Entry
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.mnist.sources import Pictures, held_out, pictures_of
from mmcl_jax.datasets.mnist.two_view import DIGITS, SIDE, class_column, folds_of, resized, splits_of
from mmcl_jax.errors import check
from mmcl_jax.prepare.made import Made, labels_part
from mmcl_jax.prepare.recipe import Step

STAND_IN = "mfeat"
_FIT = f"bilinear to {SIDE} x {SIDE}"


def mnist_svhn(
    *,
    root: Path,
    svhn: Path | None = None,
    permutations: int = 30,
    test_permutations: int | None = None,
    most_per_class: int = 10_000,
    folds: int = 5,
    seed: int = 0,
    data_dir: Path | None = None,
) -> Made:
    """Return pairs of an MNIST digit and a house number of the same class (Shi et al., NeurIPS 2019; Fedorov et al.).

    The modalities are `mnist` (32 x 32 x 1) and `svhn` (32 x 32 x 3), the label is `digit`. Of every class, the first
    n = min(counts, `most_per_class`) images of both data sets are put into 30 independent random orders, and paired
    side by side: full training sets give 1,682,040 pairs, and the test sets 300,000. No pixel is copied: a row of the
    store is two indices.

    Splits come first, and pairs after them: the published test sets are paired with each other, and so are the images
    of each of the five folds. So no image is in two splits, or in two folds. (The released code draws pairs of the
    whole training part of a fold, so a digit there may meet a house number of another fifth; each digit has as many
    partners here.) The group of a row is its MNIST image: with 30 pairs of it, rows are not independent, and intervals
    resample groups. One permutation for test (`test_permutations=1`) shows every image once, and measures a modality
    alone as well. The subset `train_once` has the first permutation of the training pairs.

    Args:
      root: MNIST: a folder or a TFDS name, as `two_view_mnist` takes it.
      svhn: a folder with `train_32x32.mat` and `test_32x32.mat`, a prepared TFDS data set or its name, such as
        `svhn_cropped`; by default `root`. "mfeat" takes the digits that ship with this package in its place, a stand-in
        for where SVHN is not at hand: 2,000 scanned digits of 16 x 15 pixels are far easier than house numbers.
      permutations: number of random orders of both sides.
      test_permutations: number for the test pairs; by default the same.
      most_per_class: most images of a class that are paired, of the training part and of the test part.
      folds: number of folds of the training part; fold 0 is the split val.
      seed: of the folds and orders.
      data_dir: folder in which TFDS stores data sets, for names.

    Raises:
      UserError: a folder has no such files, a file is damaged, or a class lacks images.
    """
    counts = {"permutations": permutations, "test_permutations": test_permutations, "most_per_class": most_per_class}
    for name, count in counts.items():
        check(count is None or count > 0, f"--dataset.{name}: {count} is not positive.")
    stand_in = svhn is not None and str(svhn) == STAND_IN
    first = pictures_of(root, data_dir=data_dir)
    second = scanned_digits() if stand_in else _house_numbers(root, svhn, data_dir)
    both = (first, second)
    for pictures, name, channels in zip(both, ("mnist", "svhn"), (1, 3), strict=True):
        class_column("digit", DIGITS, pictures)
        found = pictures.images.shape[3]
        check(
            found == channels, f"The images of {pictures.source} have {found} channels, and those of {name} {channels}."
        )
    rng = np.random.default_rng(seed)
    divided = [folds_of(pictures, folds, seed) for pictures in both]
    parts = [*zip(*divided, strict=True), (first.test, second.test)]
    limits = [-(-most_per_class // folds)] * folds + [most_per_class]
    times = [permutations] * folds + [permutations if test_permutations is None else test_permutations]
    paired = []
    for number, (rows, limit, count) in enumerate(zip(parts, limits, times, strict=True)):
        pairs = pair_by_class(
            *(pictures.codes[chosen] for pictures, chosen in zip(both, rows, strict=True)),
            permutations=count, most=limit, rng=rng,
        )  # fmt: skip
        check(
            len(pairs) > 0 and len(np.unique(first.codes[rows[0][pairs[:, 0]]])) == len(DIGITS),
            f"{f'Fold {number}' if number < folds else 'The test part'} of {first.source} and {second.source} has no "
            "pair of some digit; give more images, or fewer --dataset.folds.",
        )
        paired.append(np.stack([rows[side][pairs[:, side]] for side in (0, 1)], axis=1))
    *of_folds, test = paired
    return _made(both, [*of_folds[1:], of_folds[0], test], times, stand_in)


def pair_by_class(
    first: Int64[np.ndarray, "N"],
    second: Int64[np.ndarray, "M"],
    *,
    permutations: int,
    most: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, "P 2"]:
    """Return pairs of indices of items of the same class: the first n of both in independent random orders.

    n is the smaller number of items of the class on the two sides, at most `most`. Pairs are ordered by permutation,
    then by class. An item is in `permutations` pairs, or in none.

    Args:
      first: classes on the one side.
      second: classes on the other side.
      permutations: number of random orders.
      most: largest n.
      rng: draws the orders.

    Example:
      >>> classes = np.array([0, 1, 1]), np.array([1, 0, 1, 1])
      >>> pairs = pair_by_class(*classes, permutations=2, most=10, rng=np.random.default_rng(0))
      >>> len(pairs), bool((classes[0][pairs[:, 0]] == classes[1][pairs[:, 1]]).all())
      (6, True)
    """
    members = []
    for code in np.intersect1d(first, second):
        sides = [np.flatnonzero(codes == code) for codes in (first, second)]
        size = min(most, *map(len, sides))
        members.append([side[:size] for side in sides])
    orders = [
        np.stack([rng.permutation(side) for side in sides], axis=1) for _ in range(permutations) for sides in members
    ]
    return np.concatenate(orders) if orders else np.zeros((0, 2), np.int64)


def scanned_digits() -> Pictures:
    """Return the digits that ship with this package, as colour images of three equal channels."""
    with zipfile.ZipFile(str(files("mmcl_jax.datasets.digits") / "digits.zip")) as archive:
        table = pl.read_csv(archive.read("digits.csv"))
        images = []
        for name in table["file"]:
            with archive.open(f"images/{name}") as file, Image.open(file) as image:
                images.append(np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
    colour = np.repeat(np.stack(images)[..., None], 3, axis=3)
    return held_out(colour, table["digit"].cast(pl.Int64).to_numpy(), "the mfeat digits of this package")


def _house_numbers(root: Path, svhn: Path | None, data_dir: Path | None) -> Pictures:
    folder = root if svhn is None else svhn
    check(
        svhn is not None or any(root.glob("*_32x32.mat")),
        f"--root: {root} has no train_32x32.mat of SVHN; name its folder or TFDS data set with --dataset.svhn, or take "
        f"the stand-in, --dataset.svhn={STAND_IN}.",
    )
    if any(folder.glob("*_32x32.mat")):
        return _mat(folder)
    return pictures_of(folder, data_dir=data_dir)


def _mat(folder: Path) -> Pictures:
    """Return SVHN of its files, also where the folder has the files of MNIST, too."""
    from mmcl_jax.datasets.mnist.sources import joined
    from mmcl_jax.datasets.mnist.svhn import FILES, read_mat

    return joined({split: read_mat(folder / name) for split, name in FILES.items()}, "the files of SVHN")


def _made(both: tuple[Pictures, Pictures], parts: list[np.ndarray], times: list[int], stand_in: bool) -> Made:
    """Return the data set of pairs `[P, 2]`: of the folds 1 and on, of fold 0, and of the test part."""
    first, second = both
    at = np.concatenate(parts)
    ends = np.cumsum([0, *map(len, parts)])
    codes = first.codes[at[:, 0]]
    column = class_column("digit", DIGITS, first)
    number = np.concatenate([np.repeat(np.arange(n), len(part) // n) for n, part in zip(times, parts, strict=True)])
    keys = [
        f"{'test' if row >= ends[-2] else 'train'}-{a:05d}-{b:05d}-{k:02d}"
        for row, (a, b, k) in enumerate(zip(*(values.tolist() for values in (*at.T, number)), strict=True))
    ]
    rows = [np.arange(start, end) for start, end in itertools.pairwise(ends)]
    once = np.flatnonzero(number[: ends[-3]] == 0)
    sides = {"mnist": (first, 1), "svhn": (second, 3)}
    content = Content(
        parts={
            **{
                name: Part(
                    entry=Entry(kind="image", shape=(SIDE, SIDE, channels), dtype="uint8", fit=_FIT),
                    values=resized(pictures.images),
                    at=at[:, index],
                )
                for index, (name, (pictures, channels)) in enumerate(sides.items())
            },
            "labels": labels_part(column, codes),
        },
        id=np.arange(len(at)),
        keys=keys,
        group=at[:, 0],
        splits=splits_of(ends[-3], ends[-2], ends[-1]),
        subsets={"train_once": once} if len(once) < ends[-3] else {},
        folds=[rows[-2], *rows[:-2]],
        declaration=Declaration(columns={"digit": Declared(role="label", kind="categorical")}),
    )
    used = [len(np.unique(at[:, side])) for side in (0, 1)]
    step = f"{first.source} ({used[0]:,} images used) paired by digit with {second.source} ({used[1]:,} used)"
    note = (
        "The modality svhn is a stand-in: scanned digits of the mfeat data set (16 x 15 pixels, grey), not house "
        "numbers of SVHN. Results on it are not results on MNIST-SVHN."
    )
    return Made(
        name="mnist_svhn with a stand-in for SVHN" if stand_in else "mnist_svhn",
        content=content,
        sources={"mnist": first.source, "svhn": second.source, "labels": first.source},
        steps=(Step(step, len(at), len(at)), *(Step(f"test of {p.source}: {p.split}", len(at), len(at)) for p in both)),
        notes=(note,) if stand_in else (),
    )
