"""Reading a table file and turning its columns into numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.data.schema import Column
from mmcl_jax.errors import UserError, check

# A text column with more different values than this is taken for free text or an identifier, not a category.
MAX_CATEGORIES = 1000


def read_table(path: Path) -> pl.DataFrame:
    """Reads a CSV, TSV or Parquet file with a header; empty cells are missing.

    Raises:
      UserError: the file is missing, empty, of another type, or cannot be parsed.
    """
    check(path.is_file(), f"The table {path} does not exist.")
    readers = {
        ".csv": lambda: pl.read_csv(path, infer_schema_length=None),
        ".tsv": lambda: pl.read_csv(path, separator="\t", infer_schema_length=None),
        ".parquet": lambda: pl.read_parquet(path),
    }
    suffix = path.suffix.lower()
    check(suffix in readers, f"The table {path} must end in .csv, .tsv or .parquet.")
    try:
        table = readers[suffix]()
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {path} cannot be read: {str(error).splitlines()[0]}") from error
    check(table.height > 0, f"The table {path} has a header but no rows.")
    return table


def require_columns(table: pl.DataFrame, names: Sequence[str], path: Path) -> None:
    """Raises `UserError` for the first of `names` that the table lacks."""
    for name in names:
        check(name in table.columns, f"There is no column {name!r} in {path}; it has {_shortened(table.columns)}.")


def infer_column(values: pl.Series, path: Path, *, categorical: bool) -> Column:
    """A number column is continuous; a text or true/false column, or one declared so, is categorical.

    Raises:
      UserError: the column is empty, has another type, or holds too many different texts for a category.
    """
    name = values.name
    check(values.null_count() < len(values), f"Column {name!r} of {path} is empty; leave it out with --ignore {name}.")
    if values.dtype.is_numeric() and not categorical:
        return Column(name=name, kind="continuous")
    check(
        values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum),
        f"Column {name!r} of {path} is of type {values.dtype}, which is neither a number nor a category; "
        f"leave it out with --ignore {name}.",
    )
    categories = _texts(values.drop_nulls().unique().sort()).to_list()  # numbers in the order of numbers
    check(
        len(categories) <= MAX_CATEGORIES,
        f"Column {name!r} of {path} has {len(categories)} different texts, too many for a category; "
        f"leave it out with --ignore {name}.",
    )
    return Column(name=name, kind="categorical", categories=tuple(categories))


def column_values(values: pl.Series, column: Column) -> np.ndarray:
    """The column as `[N]` float64: numbers as they are, categories as codes, missing as NaN."""
    if column.kind == "continuous":
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    codes = {category: float(code) for code, category in enumerate(column.categories)}
    return np.array([codes.get(text, np.nan) if text is not None else np.nan for text in _texts(values)])


def _texts(values: pl.Series) -> pl.Series:
    return values.cast(pl.String)


def _shortened(names: Sequence[str], most: int = 12) -> str:
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed
