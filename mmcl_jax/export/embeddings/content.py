"""The checksum of the rows of a Parquet file, whatever its row groups and its compression."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from mmcl_jax.border.checksum import digest


def content_of(frames: Iterable[pl.DataFrame]) -> str:
    """Return the SHA-256 of the rows of frames with the same columns, one behind the other.

    >>> rows = pl.DataFrame({"key": ["a", None, "c"], "row": [0, 1, 2]})
    >>> content_of([rows]) == content_of([rows[:1], rows[1:]])
    True
    """
    hashes: dict[str, tuple[hashlib._Hash, hashlib._Hash]] = {}
    for frame in frames:
        for column in frame:
            values, nulls = hashes.setdefault(column.name, (hashlib.sha256(), hashlib.sha256()))
            nulls.update(column.is_null().to_numpy().tobytes())
            dtype = column.dtype.inner if isinstance(column.dtype, pl.Array) else column.dtype
            if dtype.is_numeric():
                filled = column if isinstance(column.dtype, pl.Array) else column.fill_null(0)
                values.update(filled.to_numpy().tobytes())
            else:
                values.update("".join(f"{value!r}\n" for value in column.to_list()).encode())
    return digest({name: [one.hexdigest() for one in both] for name, both in hashes.items()})


def content_of_file(path: Path, rows: int = 2**14) -> str:
    """Return the checksum of the rows of a Parquet file, reading some rows at a time."""
    return content_of(_slices(path, rows))


def _slices(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    lazy = pl.scan_parquet(path)
    count = lazy.select(pl.len()).collect().item()
    for start in range(0, max(1, count), rows):
        yield lazy.slice(start, rows).collect()
