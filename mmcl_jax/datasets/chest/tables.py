"""Reading the tables of the chest data sets, plain or compressed by gzip, as texts."""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.table.table import UNREADABLE
from mmcl_jax.text import brief, words_of


def find(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """Return the first of these names that is a file or folder in one of the folders; None if there is none."""
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


def found(folders: Sequence[Path], names: Sequence[str], what: str) -> Path:
    """Return what `find` does.

    Raises:
      UserError: no folder has one of the names; `what` says what the file holds.
    """
    path = find(folders, names)
    if path is None:
        raise UserError(f"--root: {what} is missing: {' or '.join(str(folder / names[0]) for folder in folders)}.")
    return path


def read_csv(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return a table of texts without outer spaces, "" for empty cells; polars decompresses `.gz` by itself.

    Raises:
      UserError: the file cannot be read, has no row, or has one of the columns not at all or twice.
    """
    check(path.is_file(), f"--root: {path} does not exist.")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (*UNREADABLE, OSError) as error:
        raise UserError(_fault(path, error)) from error
    table = table.rename({name: name.strip() for name in table.columns})
    for name in columns:
        check(name in table.columns, f"{path} has no column {name!r}; it has {', '.join(table.columns[:12])}.")
        check(f"{name}_duplicated_0" not in table.columns, f"{path} has the column {name!r} twice; keep one.")
    check(table.height > 0, f"{path} has a header and no row; download it again.")
    return table.with_columns(pl.all().fill_null("").str.strip_chars())


def _fault(path: Path, error: BaseException) -> str:
    """Return what is wrong with a table that polars cannot read, with the line or the row where it can be told."""
    sentence = f"{path} cannot be read: {words_of(error)}."
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = csv.reader(io.StringIO(content.decode(), newline=""))
        width = len(next(rows, []))
        for row, cells in enumerate(rows, start=1):
            if len(cells) > width:
                return f"{path}, row {row}: it has {len(cells)} cells, and the header has {width}."
    except UnicodeDecodeError as wrong:
        return f"{path}, line {content[: wrong.start].count(10) + 1}: it is no text in UTF-8."
    except (OSError, EOFError, zlib.error, csv.Error):
        return sentence
    return sentence


def number(text: str, where: str, column: str) -> float:
    """Return a finite number. Raises `UserError` that names the row, by `where`, and the column."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    check(abs(value) < float("inf"), f"{where}: {column} is {brief(text)}, which is no number.")
    return value
