"""The downstream data sets of ContIG: grades of APTOS, findings of RFMiD, and masks of PALM."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from sklearn.model_selection import StratifiedShuffleSplit

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.images.circle import Crop, read_eye
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.sources import Source
from mmcl_jax.text import words_of

SIZE = (448, 448)
GRADES = ("0", "1", "2", "3", "4")
DROPPED = ("Disease_Risk", "HR", "ODPM")  # columns of RFMiD
# Of RFMiD: the split, the two folders of that name, the folders of images, and the word in the name of the labels.
_SETS = (
    ("train", "Training_Set", ("Training",), "Training"),
    ("val", "Evaluation_Set", ("Validation", "Evaluation"), "Validation"),
    ("test", "Test_Set", ("Test",), "Testing"),
)
Strata = Literal["H", "prefix"]


def aptos(*, root: Path, crop: Crop = "circle") -> Recipe:
    """Return APTOS 2019: 3,662 photographs with a grade of diabetic retinopathy from 0 to 4, the label `diagnosis`.

    `root/train.csv` has the columns id_code and diagnosis, and `root/train_images/ID.png` the photographs; the test
    images of the competition have no grades and are not used. A photograph is cropped to its circle or, if none is
    found, to its middle. The rows of the file are divided 60/20/20 by `RandomState(42)`, as in the released code.

    Args:
      root: the folder of the data set.
      crop: "circle", "middle" or "none"; see `read_eye`.

    Raises:
      UserError: the file is missing, or lacks a column.
    """
    path = root / "train.csv"
    rows = _read(path, ("id_code", "diagnosis"))
    check((root / "train_images").is_dir(), f"--root: the folder {root / 'train_images'} does not exist.")
    rows = rows.select("id_code", (pl.col("id_code").fill_null("") + ".png").alias("file"), "diagnosis")
    order = np.random.RandomState(42).permutation(rows.height)
    first, second = int(0.6 * rows.height), int((0.6 + 0.2) * rows.height)
    parts = {"train": order[:first], "val": order[first:second], "test": order[second:]}
    return Recipe(
        name="aptos",
        rows=rows,
        images=root / "train_images",
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(
            columns={
                "id_code": Declared(role="identifier", verbatim=True),
                "file": Declared(role="image"),
                "diagnosis": Declared(role="label", kind="ordinal", categories=GRADES),
            },
            others="ignore",
        ),
        splits={split: [key for key in rows["id_code"].gather(part) if key] for split, part in parts.items()},
        steps=(Step("graded photographs", rows.height, rows.height),),
        read=functools.partial(read_eye, crop=crop, otherwise="middle"),
    )


def rfmid(*, root: Path, crop: Crop = "middle") -> Recipe:
    """Return RFMiD: 3,200 photographs with 43 findings, the multi-label target `findings`, on the official splits.

    For each of Training, Evaluation and Test, `root/X_Set/X_Set/` holds the labels, such as
    `RFMiD_Training_Labels.csv` (for Evaluation: Validation; for Test: Testing), and a folder of `ID.png`. The columns
    Disease_Risk, HR and ODPM are dropped, as in the released code; the paper says 46 findings. A photograph loses the
    black columns at its left and right and is padded to a square; no circle is looked for.

    Args:
      root: the folder of the data set.
      crop: "middle", "circle" or "none"; see `read_eye`.

    Raises:
      UserError: a file is missing or lacks a column, or the files have different columns.
    """
    frames, splits, findings = [], dict[str, list[str]](), list[str]()
    for split, folder, names, word in _SETS:
        base = root / folder / folder
        path = base / f"RFMiD_{word}_Labels.csv"
        table = _read(path, ("ID",))
        images = next((name for name in names if (base / name).is_dir()), None)
        if images is None:
            raise UserError(f"--root: the folder {base / names[0]} does not exist.")
        columns = [name for name in table.columns if name not in ("ID", *DROPPED)]
        check(bool(columns), f"--root: {path} has no findings.")
        findings = findings or columns
        check(columns == findings, f"--root: {path} has other findings, or another order of them, than that of train.")
        keys = pl.col("ID").fill_null("")
        table = table.select(
            (split + "/" + keys).alias("photograph"),
            pl.lit(f"{folder}/{folder}/{images}/").add(keys).add(".png").alias("file"),
            *findings,
        )
        splits[split] = table["photograph"].to_list()
        frames.append(table)
    rows = pl.concat(frames)
    labels = root / "RFMiD_*_Labels.csv"
    return Recipe(
        name="rfmid",
        rows=rows.select("photograph", "file"),
        images=root,
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(
            columns={"photograph": Declared(role="identifier", verbatim=True), "file": Declared(role="image")},
            others="ignore",
        ),
        targets={"findings": Source(kind="multi-label", file=labels, key="photograph", column=tuple(findings))},
        tables={labels: rows.drop("file")},
        required=("image",),
        splits=splits,
        steps=tuple(Step(f"photographs of {split}", len(keys), len(keys)) for split, keys in splits.items()),
        read=functools.partial(read_eye, crop=crop, otherwise="middle"),
    )


def palm(*, root: Path, stratify: Strata = "H") -> Recipe:
    """Return PALM: 400 photographs with the mask `disc` and the mask `atrophy` of the atrophy around it.

    `root/PALM-Training400/ID.jpg` are the photographs. `Disc_Masks/ID.bmp` and `Lesion_Masks/Atrophy/ID.bmp` are the
    masks, black where the structure is. An eye without a file has an empty mask of atrophy; without one of the disc, it
    has none. Photographs are squashed to a square, and masks with them, by the nearest pixel.

    The first letter of an ID is the kind of eye: H for high myopia without lesions, N for normal, P for pathological
    myopia. As in the released code, a stratified shuffle split with seed 42 takes 60 % for training, and another with
    seed 43 halves the rest into validation and test, with two strata: H, and all others.

    Args:
      root: the folder of the data set.
      stratify: "H" for the two strata of the released code; "prefix" for the three of H, N and P.

    Raises:
      UserError: a folder is missing, or a stratum is too small to be divided.
    """
    folders = {"disc": root / "Disc_Masks", "atrophy": root / "Lesion_Masks" / "Atrophy"}
    images = root / "PALM-Training400"
    for folder in (images, *folders.values()):
        check(folder.is_dir(), f"--root: the folder {folder} does not exist.")
    names = sorted(path.stem for path in images.glob("*.jpg"))
    check(bool(names), f"--root: {images} has no photographs; their names end in .jpg.")
    strata = [name[:1] for name in names]
    if stratify == "H":
        strata = ["H" if stratum == "H" else "" for stratum in strata]
    classes = {"none": 255}
    return Recipe(
        name="palm",
        rows=pl.DataFrame({"photograph": names, "file": [f"{name}.jpg" for name in names]}),
        images=images,
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(
            columns={"photograph": Declared(role="identifier", verbatim=True), "file": Declared(role="image")},
            others="ignore",
        ),
        targets={
            name: Source(
                kind="mask",
                of="image",
                folder=folder,
                files="{key}.bmp",
                classes=tuple({**classes, name: 0}.items()),
                empty=name == "atrophy",
            )
            for name, folder in folders.items()
        },
        required=("image",),
        splits=_halved(names, strata, images),
        steps=(Step("photographs", len(names), len(names)),),
    )


def _halved(names: Sequence[str], strata: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """Return 60, 20 and 20 % of the names, stratified."""
    rows, stratum = np.array(names), np.array(strata)
    try:
        train, rest = next(StratifiedShuffleSplit(1, test_size=0.4, random_state=42).split(rows, stratum))
        val, test = next(StratifiedShuffleSplit(1, test_size=0.5, random_state=43).split(rest, stratum[rest]))
    except ValueError as error:
        groups, counts = np.unique(stratum, return_counts=True)
        sizes = ", ".join(f"{count} of {group or 'the others'}" for group, count in zip(groups, counts, strict=True))
        raise UserError(f"--root: the photographs of {folder} ({sizes}) are too few to be divided: {error}") from error
    return {"train": rows[train].tolist(), "val": rows[rest[val]].tolist(), "test": rows[rest[test]].tolist()}


def _read(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return a table of texts without outer spaces. Raises `UserError` if the file or a column is missing."""
    check(path.is_file(), f"--root: {path} does not exist.")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"--root: {path} cannot be read: {words_of(error)}.") from error
    table = table.rename({name: name.strip() for name in table.columns})
    for name in columns:
        check(name in table.columns, f"--root: {path} has no column {name}; it has {', '.join(table.columns[:12])}.")
    return table.with_columns(pl.all().str.strip_chars())
