"""Reads the published tables of DVM-CAR V2.0, and corrects the physical sizes."""

import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mmcl_jax.data.table.declaration import MISSING_WORDS
from mmcl_jax.errors import UserError, check_name
from mmcl_jax.prepare.recipe import Step
from mmcl_jax.text import words_of

SIZES = ("Wheelbase", "Length", "Width", "Height")  # in the order of the jitter
FOLDERS = ("tables_V2.0", "tables", ".")
ROW = "row of the file"  # number of the row, 1 for the row below the header

# Wheelbases that were set by hand, for every advertisement of the model.
_SET = (("69_36", "Wheelbase", 2612.0), ("29_20", "Wheelbase", 2788.0))
# Typing errors that were corrected by hand: model, column, wrong value, correct value.
_WRONG = (
    ("29_30", "Height", 805.0, 1805.0),
    ("59_29", "Wheelbase", 5246.0, 3106.0),
    ("43_9", "Wheelbase", 4065.0, 2580.0),
)


def read(root: Path, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return columns of a table as texts without outer spaces, null for "no value", and the column `ROW`.

    Raises:
      UserError: the table is missing, cannot be read, or lacks a column.
    """
    path = next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{root / FOLDERS[0] / name} is missing; it is part of the tables of DVM-CAR V2.0.")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path} cannot be read as CSV: {words_of(error)}.") from error
    table = table.rename({header: header.strip() for header in table.columns})
    for column in columns:
        check_name(column, table.columns, f"{path} has no column", "it has")
    cells = pl.col(columns).str.strip_chars()
    cells = pl.when(cells.is_in(MISSING_WORDS)).then(None).otherwise(cells)
    return table.select(cells.name.keep()).with_row_index(ROW, offset=1)


def number(table: pl.DataFrame, name: str, columns: Sequence[str], unit: str = "") -> pl.DataFrame:
    """Return the table with `columns` as float64; `unit` may follow the numbers.

    Raises:
      UserError: a cell is not a number.
    """
    for column in columns:
        parsed = table[column].str.strip_suffix(unit).cast(pl.Float64, strict=False)
        invalid = table.filter(parsed.is_null() & table[column].is_not_null())
        if len(invalid):
            raise UserError(
                f"{name}, row {invalid[ROW][0]}, column {column}: {invalid[column][0]!r} is no number"
                f"{f' with unit {unit}' if unit else ''}; correct the cell or leave it empty."
            )
        table = table.with_columns(parsed.alias(column))
    return table


def unique(table: pl.DataFrame, name: str, keys: Sequence[str]) -> pl.DataFrame:
    """Return the table, checked to have no two rows with the same `keys`.

    Raises:
      UserError: two rows have the same `keys`.
    """
    duplicates = table.filter(table.select(keys).is_duplicated())
    if len(duplicates):
        values = ", ".join(f"{key} {duplicates[key][0]}" for key in keys)
        raise UserError(
            f"{name} has {values} more than once, first in row {duplicates[ROW][0]}; delete all rows but one."
        )
    return table


def first_images(root: Path) -> pl.DataFrame:
    """Return the first image of every advertisement, in table order: Adv_ID, Image_path, Predicted_viewpoint.

    An image identifier is that of the advertisement and a number, "2_1$$10$$11"; an image name contains the folders:
    "Abarth$$124 Spider$$2017$$Blue$$2_1$$10$$image_11.jpg".

    Raises:
      UserError: the table cannot be read, or an identifier or name does not have these parts.
    """
    name = "Image_table.csv"
    table = read(root, name, ["Image_ID", "Image_name", "Predicted_viewpoint"])
    for column, parts in ("Image_ID", 3), ("Image_name", 7):
        invalid = table.filter((table[column].str.count_matches("$$", literal=True) != parts - 1).fill_null(True))
        if len(invalid):
            raise UserError(
                f"{name}, row {invalid[ROW][0]}, column {column}: {invalid[column][0]!r} does not have "
                f"{parts} parts separated by $$."
            )
    fields = pl.col("Image_name").str.split("$$")
    return table.select(
        pl.col("Image_ID").str.extract(r"^(.*)\$\$[^$]*$").alias("Adv_ID"),
        pl.concat_list(fields.list.head(4), pl.col("Image_name")).list.join("/").alias("Image_path"),
        "Predicted_viewpoint",
    ).unique("Adv_ID", keep="first", maintain_order=True)


def physical_sizes(root: Path, jitter: int, seed: int) -> tuple[pl.DataFrame, list[str]]:
    """Return wheelbase, length, width and height of every advertisement in mm, from `Ad_table (extra).csv`.

    First, sizes are corrected by hand. Then a size that is missing or 0 is filled from the first advertisement of the
    same model that has it, or stays null. Finally all sizes are jittered, column by column over the whole table, with
    the same random numbers as in the published notebook.

    Returns:
      A table of `ROW`, Adv_ID and the four sizes, and a list of sentences on the changes.

    Raises:
      UserError: the table cannot be read, or a size is not a number.
    """
    name = "Ad_table (extra).csv"
    table = number(read(root, name, ["Adv_ID", "Genmodel_ID", *SIZES]), name, SIZES)
    raw = table
    for model, column, size in _SET:
        of_model = pl.col("Genmodel_ID") == model
        table = table.with_columns(pl.when(of_model).then(size).otherwise(column).alias(column))
    for model, column, wrong, size in _WRONG:
        mistyped = (pl.col("Genmodel_ID") == model) & (pl.col(column) == wrong)
        table = table.with_columns(pl.when(mistyped).then(size).otherwise(column).alias(column))
    corrected = sum(int(raw[column].ne_missing(table[column]).sum()) for column in SIZES)
    positive = [pl.when(pl.col(column) > 0).then(column).alias(column) for column in SIZES]
    table = table.with_columns(positive)
    missing = sum(table.select(SIZES).null_count().row(0))
    table = table.with_columns(
        pl.col(column).fill_null(pl.col(column).drop_nulls().first().over("Genmodel_ID")) for column in SIZES
    )
    left = sum(table.select(SIZES).null_count().row(0))
    changes = [
        f"{corrected} physical sizes corrected by hand",
        f"{missing - left} physical sizes of 0 or none filled from another advertisement of the model",
    ]
    if jitter:
        rng = random.Random(seed)
        for column in SIZES:
            noise = pl.Series([float(rng.randint(-jitter, jitter)) for _ in range(len(table))], dtype=pl.Float64)
            table = table.with_columns((table[column] + noise).alias(column))
        changes.append(f"physical sizes jittered by whole numbers from -{jitter} to {jitter} mm, seed {seed}")
    return table.select(ROW, "Adv_ID", *SIZES), changes


class Steps:
    """The counts of rows before and after each step of a recipe."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows, self.steps = rows, list[Step]()

    def __call__(self, description: str, rows: pl.DataFrame | None = None) -> pl.DataFrame:
        """Record a step with the remaining rows (None: all), and return these rows."""
        after = self.rows if rows is None else rows
        self.steps.append(Step(description, len(self.rows), len(after)))
        self.rows = after
        return after
