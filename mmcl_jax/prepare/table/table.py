"""Reading a table file, with a reason for every record that cannot be parsed."""

import codecs
import contextlib
import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from polars.selectors import by_dtype, by_name

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.table.cells import nameless
from mmcl_jax.text import listed, nearest, words_of

# What polars raises for a damaged file; a panic of its Rust code is no `Exception`.
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
LIMITS = Limits()
_ALLOW = "; allow more with --max-cell"
IN_MEMORY = "the data frame"  # how messages name a table that is not a file


class RawTable(NamedTuple):
    """A table as read.

    `frame` holds the records that could be parsed, `numbers` `[N]` their number in the file (1 is the first record
    after the header), and `bad` the (number, reason) of every other record. All columns of a text file are texts.
    """

    frame: pl.DataFrame
    numbers: np.ndarray
    bad: list[tuple[int, str]]


def read_table(
    path: Path,
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    columns: tuple[str, ...] = (),
    limits: Limits = LIMITS,
) -> RawTable:
    """Read a CSV, TSV or Parquet file with a header.

    White space around names and cells is removed, also before a quoted cell; empty lines are skipped. A record is bad
    if it has more or fewer cells than the header, a quotation mark in a wrong position, or a cell that is too large. A
    column without a name (as
    pandas writes its index) is called `unnamed_1`, with its number from 1.

    Args:
      path: the file; its ending is .csv, .tsv or .parquet.
      separator: character between the cells of a text file; by default a comma or, for .tsv, a tab.
      encoding: of a text file.
      columns: names of the columns of a Parquet file to read; by default all of them.
      limits: the largest sizes.

    Raises:
      UserError: the file is missing, of another type or encoding, has no records, is too large, or cannot be parsed at
        all.
    """
    if is_parquet(path):
        table = _read_parquet(path, columns, limits)
    else:
        table = _read_text(path, separator_of(path, separator), encoding, limits)
    first = f" Its first row: {table.bad[0][1]}" if table.bad else ""
    check(table.frame.height > 0, f"The table {path} has a header but no rows that can be read.{first}")
    return table._replace(frame=trimmed(table.frame))


def is_parquet(path: Path) -> bool:
    """Return whether a table is a Parquet file; else it is a text file.

    Raises:
      UserError: the file is missing, or has another ending.
    """
    check(path.exists(), f"The table {path} does not exist.")
    check(path.is_file(), f"The table {path} is not a file.")
    suffix = path.suffix.lower()
    check(suffix in (*_SEPARATORS, ".parquet"), f"The table {path} must end in .csv, .tsv or .parquet.")
    return suffix == ".parquet"


def separator_of(path: Path, given: str | None) -> str:
    """Return the character between the cells of a text file.

    Raises:
      UserError: the given one cannot be used.
    """
    separator = "\t" if given == r"\t" else given  # messages write a tab as \t, and shells pass that on
    separator = separator or _SEPARATORS[path.suffix.lower()]
    check(
        len(separator.encode()) == 1 and separator not in '"\r\n\0',
        f"--separator: {separator!r} is not a single character of one byte that can separate cells, such as ';'.",
    )
    return separator


def in_memory(frame: pl.DataFrame, limits: Limits = LIMITS) -> RawTable:
    """Return a data frame as a table, as `read_table` would return a Parquet file of the frame.

    Raises:
      UserError: the frame has no columns or rows, too many of them, or two columns whose names differ by white space
        alone.
    """
    _check_shape(frame.width, frame.height, IN_MEMORY, limits)
    check(frame.width > 0 and frame.height > 0, f"{IN_MEMORY[:1].upper()}{IN_MEMORY[1:]} is empty.")
    names = _names(frame.columns, "", IN_MEMORY)
    frame = trimmed(frame.rename(dict(zip(frame.columns, names, strict=True))))
    return _without_large_cells(RawTable(frame, _numbers(frame), []), limits)


def _check_shape(columns: int, rows: int, source: object, limits: Limits) -> None:
    """Raise `UserError` for a table of too many columns or values."""
    limits.refuse("max_columns", columns, f"The table {source} has {columns:,} columns")
    size = f"{rows:,} rows x {columns:,} columns"
    limits.refuse("max_values", rows * columns, f"The table {source} has {size}, {rows * columns:,} values")


def _without_large_cells(table: RawTable, limits: Limits) -> RawTable:
    """Return the table whose records with a too large text are bad."""
    frame = table.frame
    lengths = frame.select(by_dtype(pl.String).str.len_chars().max())
    longest = lengths.row(0) if lengths.width else ()
    large = [name for name, most in zip(lengths.columns, longest, strict=True) if (most or 0) > limits.max_cell]
    bad: dict[int, str] = {}
    for name in large:
        characters = nameless(frame[name]).str.len_chars()
        for row in (characters > limits.max_cell).fill_null(False).arg_true():
            reason = f"Column {name!r} holds {characters[row]:,} characters; the limit is {limits.max_cell:,}{_ALLOW}."
            bad.setdefault(row, reason)
    if not bad:
        return table
    good = np.setdiff1d(np.arange(frame.height), list(bad))
    more = [(int(table.numbers[row]), reason) for row, reason in sorted(bad.items())]
    return RawTable(frame[good], table.numbers[good], sorted([*table.bad, *more]))


def trimmed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame without white space around its texts."""
    numbered = frame.clone()
    numbered.columns = list(map(str, range(frame.width)))  # polars reads the name `^x$` as a pattern
    texts = by_dtype(pl.String, pl.Categorical) | by_dtype(pl.Enum)
    numbered = numbered.with_columns(texts.cast(pl.String).str.strip_chars())
    numbered.columns = frame.columns
    return numbered


def _numbers(frame: pl.DataFrame) -> np.ndarray:
    return np.arange(1, frame.height + 1)


class Tables:
    """A reader of tables that reads each file once, however many entries come from it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        """Start with no file read."""
        self.limits = limits
        self._read: dict[tuple[Path, str | None, str, tuple[str, ...], Limits], RawTable] = {}

    def read(
        self,
        path: Path | pl.DataFrame,
        *,
        separator: str | None = None,
        encoding: str = "utf-8",
        columns: tuple[str, ...] = (),
        matrix: bool = False,
    ) -> RawTable:
        """Read a table as `read_table` does, or take a data frame as one; a `matrix` may have more columns."""
        limits = self.limits
        if matrix:
            limits = dataclasses.replace(limits, max_columns=max(limits.max_columns, limits.max_features))
        if isinstance(path, pl.DataFrame):
            return in_memory(path, limits)
        arguments = (path, separator, encoding, columns, limits)
        if arguments not in self._read:
            self._read[arguments] = read_table(
                path, separator=separator, encoding=encoding, columns=columns, limits=limits
            )
        return self._read[arguments]


def require_columns(columns: Sequence[str], names: Sequence[str], source: object) -> None:
    """Raise `UserError` for the first of `names` that is not among `columns`."""
    present = set(columns)
    for name in names:
        if name not in present:
            hint = nearest(name, columns)
            raise UserError(f"There is no column {name!r} in {source}{hint}; it has {_shortened(columns)}.")


@contextlib.contextmanager
def reading_table(path: object) -> Iterator[None]:
    """Turn what polars raises about a file that it cannot read into one sentence.

    A panic of its code in Rust, which damaged Parquet files can cause, is no `Exception`.

    Raises:
      UserError: the table cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise UserError(f"The table {path} cannot be read: {words_of(error)}.") from error


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Open a Parquet file without reading its values, with the column names that `read_table` would return.

    Raises:
      UserError: the file cannot be read, has no columns, or has two columns of one name.
    """
    with reading_table(path):
        frame = pl.scan_parquet(path, glob=False)
        names = frame.collect_schema().names()
    check(bool(names), f"The table {path} is empty.")
    return frame.rename(dict(zip(names, _names(names, "", path), strict=True)))


def _read_parquet(path: Path, columns: tuple[str, ...], limits: Limits) -> RawTable:
    lazy = scan_parquet(path)
    names = lazy.collect_schema().names()
    require_columns(names, columns, path)
    with reading_table(path):
        _check_shape(len(columns or names), int(lazy.select(pl.len()).collect().item()), path, limits)
        frame = (lazy.select(by_name(columns)) if columns else lazy).collect()
    return _without_large_cells(RawTable(frame, _numbers(frame), []), limits)


def _read_text(path: Path, separator: str, encoding: str, limits: Limits) -> RawTable:
    _check_header(path, separator, encoding, limits)
    text = _decoded(path, encoding)
    names = header_of(records(_lines(text), separator, path, quoted='"' in text, limits=limits), separator, path)
    # Without quotation marks, every record is a line, so that the text need not be rewritten unless a line is left out.
    plain = '"' not in text and text.count("\r") == text.count("\r\n")
    good, bad, rewritten = _split_records(text, separator, path, limits, rewrite=not plain)
    if plain and (bad or len(good) != text.count("\n") - text.endswith("\n")):
        good, bad, rewritten = _split_records(text, separator, path, limits, rewrite=True)
    _check_shape(len(names), len(good), path, limits)
    frame = frame_of_text(rewritten or text, names, separator, path, quoted=bool(rewritten))
    check(frame.height == len(good), f"The table {path} cannot be read: {len(good)} records became {frame.height}.")
    return RawTable(frame, np.array(good, np.int64), bad)


def _check_header(path: Path, separator: str, encoding: str, limits: Limits) -> None:
    """Raise `UserError` for a table of too many columns, before the rest of the file is read."""
    with (
        contextlib.suppress(LookupError, UnicodeError),  # which `_decoded` tells
        path.open(encoding=encoding, errors="replace", newline="") as file,
    ):
        _, header = next(records(file, separator, path, limits=limits), (0, []))
        if isinstance(header, list):
            _check_shape(len(header), 0, path, limits)


def header_of(of_table: Iterator[tuple[int, list[str] | str]], separator: str, path: Path) -> list[str]:
    """Return the column names from the first of the `records` of a table.

    Raises:
      UserError: there is none, it cannot be parsed, or two columns have one name.
    """
    _, header = next(of_table, (0, []))
    if isinstance(header, str):
        raise UserError(f"The header of the table {path} cannot be read: {header}.")
    check(bool(header), f"The table {path} is empty.")
    return _names(header, separator, path)


def frame_of_text(text: str, names: Sequence[str], separator: str, path: Path, *, quoted: bool) -> pl.DataFrame:
    """Return the records of a text with a header, all of whose columns are texts; `quoted` is false without quotes."""
    with reading_table(path):
        return pl.read_csv(
            text.encode(),
            new_columns=list(names),
            separator=separator,
            quote_char='"' if quoted else None,
            infer_schema=False,
        )


def _lines(text: str) -> Iterable[str]:
    return io.StringIO(text, newline="")


def _decoded(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        likely = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"
        raise UserError(
            f"The table {path} is not {encoding}: line {line} holds the byte 0x{content[error.start]:02x}; "
            f"name its encoding, for example --encoding {likely}."
        ) from error
    except (LookupError, ValueError) as error:
        raise UserError(f"--encoding: there is no encoding {encoding!r}.") from error
    check("\0" not in text, f"The table {path} holds zero bytes; it is not a text file in {encoding}.")
    check(
        not re.search("[\ud800-\udfff]", text),
        f"The table {path} holds halves of characters (surrogates); it is not a text file in {encoding}.",
    )
    return text


def _split_records(
    text: str, separator: str, path: Path, limits: Limits, *, rewrite: bool
) -> tuple[list[int], list[tuple[int, str]], str | None]:
    """Return the numbers of good records, the (number, reason) of bad ones, and on `rewrite` the good ones as text."""
    of_table = records(_lines(text), separator, path, quoted='"' in text, limits=limits)
    _, header = next(of_table)
    good, bad, rewritten = divided(enumerate(of_table, start=1), list(header), separator, rewrite=rewrite)
    return good, bad, rewritten if rewrite else None


def divided(
    numbered: Iterable[tuple[int, tuple[int, list[str] | str]]],
    header: list[str],
    separator: str,
    *,
    rewrite: bool = True,
) -> tuple[list[int], list[tuple[int, str]], str]:
    """Return the numbers of good records, the (number, reason) of bad ones, and on `rewrite` the good ones as text."""
    good, bad, buffer = [], [], io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    for number, (line, cells) in numbered:
        if isinstance(cells, str):
            bad.append((number, f"Line {line} cannot be parsed: {cells}."))
        elif len(cells) != len(header):
            bad.append((number, f"It has {len(cells)} cells (line {line}), but the header has {len(header)}."))
        else:
            good.append(number)
            if rewrite:
                writer.writerow(cells)
    return good, bad, buffer.getvalue()


def records(
    lines: Iterable[str], separator: str, path: Path, *, quoted: bool = True, limits: Limits = LIMITS
) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (first line, cells) of every record, the header first, without empty lines.

    A line that cannot be parsed has a reason in place of its cells. A table in which an unclosed quotation mark has
    swallowed further lines is refused, since no later record can be trusted. `quoted` is false for lines that are
    known to have no quotation mark.
    """
    blanks = separator != " "  # skip the blanks before a quotation mark
    last = ""

    def tracked() -> Iterator[str]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    reader = csv.reader(tracked() if quoted else lines, delimiter=separator, strict=True, skipinitialspace=blanks)
    while True:
        begins = reader.line_num + 1
        csv.field_size_limit(limits.max_cell)  # of the process, and other readers have other limits
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            large = "field limit" in str(error)  # the reader goes on with the next line, also inside quotation marks
            reason = f"a cell has more than {limits.max_cell:,} characters{_ALLOW}" if large else str(error)
            check(
                reader.line_num == begins and not (large and last.count('"') % 2),
                f"The table {path} cannot be read: a quotation mark in line {begins} is not closed ({reason}).",
            )
            yield begins, reason
        else:
            if quoted and any(cell[:1] not in ('"', " ") and cell.lstrip()[:1] == '"' for cell in cells):
                yield begins, "a cell has white space other than blanks before its quotation mark"
            elif cells:
                yield begins, cells


def _names(header: Sequence[str], separator: str, path: Path | str) -> list[str]:
    """Return the column names, stripped; a name that occurs twice, or that holds another separator, is an error."""
    names = [name.strip() or f"unnamed_{number}" for number, name in enumerate(header, start=1)]
    seen: set[str] = set()
    for name in names:
        check(name not in seen, f"The table {path} has two columns {name!r}; rename one.")
        seen.add(name)
    if len(names) == 1 and separator:
        for other in (";", "\t", "|", ","):
            check(
                other == separator or other not in names[0],
                f"The cells of the table {path} seem to be separated by {other!r}; name it with --separator {other!r}.",
            )
    return names


def _shortened(names: Sequence[str], most: int = 12) -> str:
    first = listed(names[:most])
    return f"{first} and {len(names) - most} more" if len(names) > most else first
