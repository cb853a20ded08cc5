"""One data set of MulTaBench, from a local copy as the package `multabench` reads it."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import polars as pl

from mmcl_jax.border import read_json, typed
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.multabench.splits import SIZES, SPLITS, draw_splits
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.table.table import UNREADABLE

ROW = "multabench_row"
_REMEDY = "metadata of multabench has a target and an image_col; fetch the data set again"


def multabench(*, root: Path, table: str = "", split: int = 0, size: str = "10k") -> Recipe:
    """Return the recipe of one data set with images of MulTaBench, on one of the benchmark's six splits.

    It reads the layout of `multabench.load_split(..., data_dir=root)`: `root/TABLE/data.parquet`, `metadata.json` and
    the unpacked `images/`. The label is the column that `metadata.json` names as `target`. A store holds one split;
    the test rows are the benchmark's to the row, and a tenth of its training rows are for validation (see
    `draw_splits`). Rows whose image is missing cannot be used here, while the benchmark uses them.

    Args:
      root: the folder with one folder per data set, such as `core-img-cls-petfinder`.
      table: name of the data set's folder.
      split: 0 to 5.
      size: "10k", at most 10,000 training and 5,000 test rows, as all published scores have it; or "full".

    Raises:
      UserError: an option is out of range, or a file or column is missing.
    """
    check(split in range(SPLITS), f"--dataset.split: choose 0 to {SPLITS - 1}, not {split}.")
    check(size in SIZES, f"--dataset.size: choose one of {', '.join(SIZES)}, not {size!r}.")
    folder = root / table
    named = ", ".join(sorted(path.parent.name for path in root.glob("*/metadata.json"))) or "none"
    found = bool(table) and Path(table).name == table and folder.is_dir()
    check(found, f"--dataset.table: {root} has no data set {table!r}; it has {named}.")
    target, image, regression = _metadata(folder)
    rows = _read(folder / "data.parquet")
    for column in (target, image):
        check(column in rows.columns, f"{folder / 'data.parquet'} has no column {column!r}, which metadata.json names.")
    missing = rows[target].null_count() + (rows[target].is_nan().sum() if rows[target].dtype.is_float() else 0)
    check(missing == 0, f"{folder / 'data.parquet'}: {missing} rows have no {target!r}, so the splits are not defined.")
    shards = "; unzip images-*.zip in it" if any(folder.glob("images-*.zip")) else ""
    check((folder / "images").is_dir(), f"{folder} has no folder images{shards or '; fetch the images, too'}.")
    rows = rows.with_columns(pl.Series(ROW, map(str, range(rows.height))))
    by_split = draw_splits(rows[target].to_numpy(), split, classes=not regression, size=size)
    kept = rows[sorted(row for part in by_split.values() for row in part.tolist())]
    declared = {
        ROW: Declared(role="identifier"),
        image: Declared(role="image"),
        target: Declared(role="label", kind="continuous" if regression else "categorical"),
    }
    return Recipe(
        name="multabench",
        rows=kept,
        images=folder,
        image_columns=(image,),
        declaration=Declaration(columns=declared),
        splits={name: [str(row) for row in part] for name, part in by_split.items()},
        steps=(Step(f"rows of split {split} in the size {size}", rows.height, kept.height),),
    )


class _Metadata(TypedDict):
    """What is read of `metadata.json`."""

    target: str
    image_col: str | None
    task_type: NotRequired[str | None]


def _metadata(folder: Path) -> tuple[str, str, bool]:
    """Return the target, the column of the images, and whether the target is a number."""
    path = folder / "metadata.json"
    check(path.exists(), f"{folder} has no metadata.json; --root is the folder above the data sets' folders.")
    raw = read_json(path, dict[str, Any], _REMEDY, constants=True)
    read = typed(_Metadata, {name: raw[name] for name in _Metadata.__annotations__ if name in raw}, str(path), _REMEDY)
    image, task = read["image_col"], read.get("task_type")
    if image is None:
        raise UserError(f"{path}: this data set has no images; mmcl prepare takes those with images.")
    return read["target"], image, (task or ("reg" if "-reg-" in folder.name else "cls")) == "reg"


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; fetch the data set again.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as Parquet; fetch the data set again.") from error
