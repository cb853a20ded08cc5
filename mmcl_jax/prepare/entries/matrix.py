"""Numeric matrices with a key per row: tables, NumPy arrays and HDF5 data sets.

Parquet files of numbers, NumPy arrays and HDF5 data sets are read in chunks, in the order of the file; tables in text
files are read at once.

pip install "mmcl_jax[hdf5]"        # for .h5 and .hdf5
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from mmcl_jax.data.table.declaration import MISSING_WORDS
from mmcl_jax.data.table.readings import PLAIN
from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.genotypes import Variants
from mmcl_jax.prepare.entries.npy import map_npy
from mmcl_jax.prepare.join.keys import canonical, first_rows, some
from mmcl_jax.prepare.join.tables import Keyed, Keys
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.table.cells import is_text, nameless, text_of
from mmcl_jax.prepare.table.infer import shortened
from mmcl_jax.prepare.table.table import reading_table, require_columns, scan_parquet
from mmcl_jax.text import nearest, words_of

MISSING = -127  # of int8
_LIMIT = {"float32": float(np.finfo(np.float32).max), "float16": float(np.finfo(np.float16).max), "int8": 126.0}
_CHUNK_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix:
    """A numeric matrix `[n, F]` in a file, with a key per row.

    Attributes:
      file: that holds the matrix.
      names: of its columns.
      keys: of its rows, canonical; "" for a row without a key.
      index: the first row of every key.
      dtype: in which the store holds it.
      values: reads rows by number, in ascending order, as floats `[k, F]`, NaN for missing.
      bad: by row, a sentence on what is wrong with it.
      row_bytes: of a row while it is read; by default that of a row of float64.
      variants: of genotypes, in the order of the columns.
      facts: of genotypes and burdens, for the card.
      warnings: sentences that a user should read.
    """

    file: Path
    names: tuple[str, ...]
    keys: list[str]
    index: dict[str, int]
    dtype: str
    values: Callable[[np.ndarray], np.ndarray]
    bad: dict[int, str] = dataclasses.field(default_factory=dict)
    row_bytes: int = 0
    variants: Variants | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def chunks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (indices `[k]` into `rows`, values `[k, F]`) in chunks, in the order of the file."""
        order = np.argsort(rows, kind="stable")
        size = max(1, 2 * _CHUNK_BYTES // self.row_bytes) if self.row_bytes else _rows_at_once(len(self.names))
        for start in range(0, len(rows), size):
            chunk = order[start : start + size]
            distinct, inverse = np.unique(rows[chunk], return_inverse=True)
            values = np.asarray(self.values(distinct))
            yield chunk, values if len(distinct) == len(chunk) else values[inverse]  # `chunk` is sorted by row

    def selected(self, features: tuple[str, ...], where: str) -> "Matrix":
        """Return the matrix with these columns in this order; with all columns if `features` is empty.

        Raises:
          UserError: the matrix lacks a column, which the message names.
        """
        if features in ((), self.names):
            return self
        for name in features:
            check(name in self.names, f"{where}: {self.file} has no column {name!r}, which the store of --like has.")
        order = np.array([self.names.index(name) for name in features])
        return dataclasses.replace(self, names=features, values=lambda rows: self.values(rows)[:, order])

    def checked(self) -> "Matrix":
        """Return the matrix without empty rows in its index, and with the rows that `dtype` cannot hold in `bad`."""
        rows = np.array(sorted(self.index.values()), int)
        bad, has_value = dict(self.bad), np.zeros(len(self.keys), bool)
        for indices, values in self.chunks(rows):
            chunk = rows[indices]
            present = ~np.isnan(values)
            has_value[chunk] = present.any(axis=1)
            outside = present & ((np.abs(values) > _LIMIT[self.dtype]) | self._fractional(values))
            for number in np.flatnonzero(outside.any(axis=1)):
                row, column = int(chunk[number]), int(outside[number].argmax())
                sentence = (
                    f"Row {row + 1} of {self.file}: column {self.names[column]!r} holds "
                    f"{values[number, column]:g}, which {self.dtype} does not hold."
                )
                bad.setdefault(row, sentence)
        index = {key: row for key, row in self.index.items() if has_value[row] or row in bad}
        return dataclasses.replace(self, index=index, bad=bad)

    def _fractional(self, values: np.ndarray) -> np.ndarray:
        """Return where a value has a fraction that the stored type cannot hold."""
        with np.errstate(invalid="ignore"):
            return (values % 1 != 0) if self.dtype == "int8" else np.zeros(values.shape, bool)

    def store(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Write the rows of these numbers to `out` `[k, F]` in its dtype."""
        for indices, values in self.chunks(rows):
            if out.dtype == np.int8 and values.dtype.kind == "f":
                values = np.where(np.isnan(values), MISSING, values)
            out[indices] = values


def read_matrix(
    source: Source, key: str, where: str, tables: Keys, quarantine: Quarantine, *, features: tuple[str, ...] = ()
) -> Matrix:
    """Open the matrix of a source.

    Args:
      source: of the kind vector.
      key: the key column, if the source does not name it.
      where: how errors name the source.
      tables: reads each table once.
      quarantine: to which rows without a key, or with the key of an earlier row, are added.
      features: the columns to read, in this order; by default all of them.

    Raises:
      UserError: a file is missing or does not hold a matrix of numbers, or there are more or fewer names than columns
        or keys than rows.
    """
    file = source.file
    assert file is not None
    names = None if source.names is None else _lines(source.names, where)
    if file.suffix.lower() in (".csv", ".tsv", ".parquet"):
        return _table(source, key, where, tables, quarantine, names, features)
    opened = _npy(file, where) if file.suffix.lower() == ".npy" else _hdf5(source, where)
    shape = " x ".join(map(str, opened.shape))
    no_matrix = (
        f"{where}: {source.file} holds values of type {opened.dtype} and shape {shape}, not a matrix of numbers."
    )
    check(len(opened.shape) == 2 and opened.dtype.kind in "iufb", no_matrix)
    tables.limits.refuse("max_features", opened.shape[1], f"{where}: {source.file} has {opened.shape[1]:,} columns")
    assert source.keys is not None
    keys = canonical(pl.Series(_lines(source.keys, where), dtype=pl.String))
    check(
        len(keys) == opened.shape[0],
        f"{where}: {source.keys} has {len(keys)} keys and {source.file} has {opened.shape[0]} rows.",
    )
    index = first_rows(keys)
    tables.note(str(source.keys), keys, index, list(range(1, len(keys) + 1)), quarantine, total=len(keys))
    return Matrix(
        file=file,
        names=_named(names, [f"f{column}" for column in range(opened.shape[1])], source, where),
        keys=keys,
        index=index,
        dtype=source.dtype or "float32",
        values=lambda rows: _floats(opened[rows]),
    ).selected(features, where)


def _rows_at_once(columns: int) -> int:
    return max(1, _CHUNK_BYTES // (8 * max(1, columns)))


def _table(
    source: Source,
    key: str,
    where: str,
    tables: Keys,
    quarantine: Quarantine,
    names: list[str] | None,
    features: tuple[str, ...],
) -> Matrix:
    """Return the matrix of a table with a key column; it is read in chunks if it is a Parquet file of numbers."""
    assert source.file is not None
    parquet = source.file.suffix.lower() == ".parquet"
    keyed = tables.keyed(source, key, where, quarantine, alone=parquet)
    lazy = scan_parquet(source.file) if parquet else keyed.frame.lazy()
    types = lazy.collect_schema()
    for name in source.ignore:
        known = "" if name in types else nearest(name, types)
        check(name in types, f"{where}: ignore: {source.file} has no column {name!r}{known}; leave it out.")
    chosen = features if names is None else ()
    require_columns(list(types), chosen, source.file)
    columns = list(chosen) or [name for name in types if name not in (keyed.key, *source.ignore)]
    check(bool(columns), f"{where}: {source.file} has no column besides the key {keyed.key!r}.")
    tables.limits.refuse("max_features", len(columns), f"{where}: {source.file} has {len(columns):,} columns")
    if parquet and all(types[name].is_numeric() or types[name] == pl.Boolean for name in columns):
        matrix = Matrix(
            file=keyed.file,
            names=_named(names, columns, source, where),
            keys=keyed.keys,
            index=keyed.index,
            dtype=source.dtype or "float32",
            values=lambda rows: _read_rows(lazy.select(by_name(columns).cast(pl.Float64)), rows, keyed.file),
        )
    else:
        full = tables.keyed(source, key, where, quarantine) if parquet else keyed
        matrix = _of_table(source, full, columns, names, where)
    return matrix.selected(features, where)


def _read_rows(lazy: pl.LazyFrame, rows: np.ndarray, file: Path) -> np.ndarray:
    """Read the values `[k, F]` of rows of a file in ascending order, in slices of bounded size."""
    width = len(lazy.collect_schema())
    values, size = np.empty((len(rows), width)), _rows_at_once(width)
    done = 0
    while done < len(rows):
        first = int(rows[done])
        end = int(np.searchsorted(rows, first + size))
        with reading_table(file):
            part = lazy.slice(first, int(rows[end - 1]) + 1 - first).collect().to_numpy()
        values[done:end] = part[rows[done:end] - first]
        done = end
    return values


def _of_table(source: Source, keyed: Keyed, columns: list[str], names: list[str] | None, where: str) -> Matrix:
    """Return the matrix of these columns of a table in memory."""
    values = np.empty((keyed.frame.height, len(columns)))
    bad: dict[int, str] = {}
    for column, name in enumerate(columns):
        cells = nameless(keyed.frame[name])
        check(
            cells.dtype.is_numeric() or is_text(cells.dtype) or cells.dtype in (pl.Boolean, pl.Null),
            f"{where}: column {name!r} of {source.file} is of the type {cells.dtype}, which is not a number; leave it "
            "out with ignore.",
        )
        if is_text(cells.dtype):
            texts = text_of(cells)
            absent = texts.is_in(list(MISSING_WORDS)).fill_null(True)
            numbers = PLAIN.numbers(texts.set(absent, None)).cast(pl.Float64)
            wrong = (numbers.is_null() | numbers.is_nan()) & ~absent
            if wrong.all():
                text = shortened(texts.drop_nulls()[0])
                check(
                    False,
                    f"{where}: column {name!r} of {source.file} holds no numbers ({text}); leave it out with ignore.",
                )
            for row in wrong.arg_true():
                sentence = f"{keyed.row(row)}: column {name!r} holds {shortened(texts[row])}, which is not a number."
                bad.setdefault(row, sentence)
        else:
            numbers = cells.cast(pl.Float64)
        values[:, column] = numbers.fill_null(float("nan")).to_numpy()
    return Matrix(
        file=keyed.file,
        names=_named(names, columns, source, where),
        keys=keyed.keys,
        index=keyed.index,
        dtype=source.dtype or "float32",
        values=lambda rows: values[rows],
        bad=bad,
    )


def _named(names: list[str] | None, columns: list[str], source: Source, where: str) -> tuple[str, ...]:
    """Return the names of the columns: the lines of the names file, or else the columns' own names."""
    if names is None:
        return tuple(columns)
    lengths = f"{where}: {source.names} has {len(names)} names and {source.file} has {len(columns)} columns"
    check(len(names) == len(columns), f"{lengths}{' besides the key' if source.keys is None else ''}.")
    twice = [
        name for name, row in first_rows(names).items() if names.index(name) != len(names) - 1 - names[::-1].index(name)
    ]
    check(not twice, f"{where}: {source.names} names a column twice: {some(twice)}.")
    return tuple(names)


def _npy(path: Path, where: str) -> np.ndarray:
    try:
        return map_npy(path)
    except FileNotFoundError as error:
        raise UserError(f"{where}: the file {path} does not exist.") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{where}: {path} cannot be read as a NumPy array: {error}.") from error


def _hdf5(source: Source, where: str) -> Any:
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise UserError(f'{where}: h5py is not installed; run pip install "mmcl_jax[hdf5]".') from error
    assert source.file is not None
    check(source.file.is_file(), f"{where}: the file {source.file} does not exist.")
    try:
        file = h5py.File(source.file, "r")
    except OSError as error:
        raise UserError(f"{where}: {source.file} cannot be read as HDF5: {words_of(error)}.") from error
    dataset = file.get(source.dataset)
    if not isinstance(dataset, h5py.Dataset):
        names = [name for name in file if isinstance(file[name], h5py.Dataset)]
        check_name(source.dataset, names, f"{where}: {source.file} has no data set", "it has")
    return dataset


def _floats(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.int8:
        return np.where(values == MISSING, np.nan, values.astype(np.float32))
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _lines(path: Path, where: str) -> list[str]:
    """Return the lines of a text file without white space around them."""
    check(path.is_file(), f"{where}: the file {path} does not exist.")
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: {path} is not a text file in UTF-8.") from error
