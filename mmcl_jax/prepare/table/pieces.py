"""Reading a table piece by piece, so that it need not fit into memory."""

import codecs
import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.selectors import by_name

from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.table.table import (
    IN_MEMORY,
    RawTable,
    divided,
    frame_of_text,
    header_of,
    is_parquet,
    reading_table,
    records,
    require_columns,
    scan_parquet,
    separator_of,
    trimmed,
)

_LIMITS = Limits(max_cell=1 << 27)  # what `prepare` may have been told to allow


class TablePieces:
    """A table that is read in pieces of consecutive records, with the values, numbers and bad records of `read_table`.

    Attributes:
      source: what messages call the table.
      columns: its column names.
      rows: number of its records; for a text file the number of its lines, which is no smaller.
    """

    def __init__(self, table: Path | pl.DataFrame, *, separator: str | None = None, encoding: str = "utf-8") -> None:
        """Open a file, or take a data frame.

        Raises:
          UserError: see `read_table`; but a table without records is valid.
        """
        self._path = table if isinstance(table, Path) else None
        self._encoding = encoding
        self.source = IN_MEMORY if self._path is None else str(table)
        self._lazy = None if self._path is None else scan_parquet(self._path) if is_parquet(self._path) else None
        if isinstance(table, pl.DataFrame):
            self._lazy = table.rename({name: name.strip() for name in table.columns}).lazy()
        if self._lazy is not None:
            self.columns = self._lazy.collect_schema().names()
            with reading_table(self.source):
                self.rows = int(self._lazy.select(pl.len()).collect().item())
            return
        assert self._path is not None
        self._separator = separator_of(self._path, separator)
        with self._records() as of_table:
            self.columns = header_of(of_table, self._separator, self._path)
        with self._path.open("rb") as file:
            lines = sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
            file.seek(-1, os.SEEK_END)
            self.rows = lines - (file.read(1) == b"\n")  # without the header

    def read(
        self, size: int, *, columns: Collection[str], skip: Callable[[int], bool] = lambda index: False
    ) -> Iterator[tuple[int, RawTable]]:
        """Yield the pieces by index: piece `i` has the records from `i * size + 1` to `(i + 1) * size`.

        Args:
          size: records of a piece.
          columns: that are needed; others may be left out.
          skip: tells of the index of a piece whether it is passed over.

        Raises:
          UserError: a column is absent, or the file cannot be read.
        """
        require_columns(self.columns, list(columns), self.source)
        yield from self._slices(size, columns, skip) if self._lazy is not None else self._texts(size, skip)

    def _slices(
        self, size: int, columns: Collection[str], skip: Callable[[int], bool]
    ) -> Iterator[tuple[int, RawTable]]:
        assert self._lazy is not None
        lazy = self._lazy.select(by_name(list(columns))) if columns else self._lazy
        for index, start in enumerate(range(0, self.rows, size)):
            if skip(index):
                continue
            with reading_table(self.source):
                frame = lazy.slice(start, size).collect()
            yield index, RawTable(trimmed(frame), start + 1 + np.arange(frame.height), [])

    def _texts(self, size: int, skip: Callable[[int], bool]) -> Iterator[tuple[int, RawTable]]:
        assert self._path is not None
        with self._records() as of_table:
            _, header = next(of_table)
            numbered = enumerate(of_table, start=1)
            for index in itertools.count():
                piece = list(itertools.islice(numbered, size))
                if not piece:
                    return
                if skip(index):
                    continue
                good, bad, text = divided(piece, list(header), self._separator)
                frame = frame_of_text(text, self.columns, self._separator, self._path, quoted=True)
                same = f"The table {self._path} cannot be read: {len(good)} records became {frame.height}."
                check(frame.height == len(good), same)
                yield index, RawTable(trimmed(frame), np.array(good, np.int64), bad)

    @contextlib.contextmanager
    def _records(self) -> Iterator[Iterator[tuple[int, list[str] | str]]]:
        """Open the text file, and give its records, the header first."""
        assert self._path is not None
        try:
            encoding = "utf-8-sig" if codecs.lookup(self._encoding).name == "utf-8" else self._encoding
        except LookupError as error:
            raise UserError(f"--encoding: there is no encoding {self._encoding!r}.") from error
        with self._path.open(encoding=encoding, newline="") as file:
            yield records(self._checked(file), self._separator, self._path, limits=_LIMITS)

    def _checked(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield the lines; raise `UserError` for one that is no text in the encoding."""
        number = 0
        try:
            for line in lines:
                number += 1
                zero = f"The table {self._path} holds zero bytes; it is not a text file in {self._encoding}."
                check("\0" not in line, zero)
                yield line
        except UnicodeError as error:
            raise UserError(
                f"The table {self._path} is not {self._encoding}: a line after line {number} cannot be read; name its "
                "encoding, for example --encoding latin-1."
            ) from error
