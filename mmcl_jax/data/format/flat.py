"""The flat arrays of a store: memory-mapped files, which training reads at the speed of memory.

flat/NAME.npy      [R, ...]: the distinct rows of an entry
flat/NAME.at.npy   [N] int64: the index in NAME.npy of every row of the store, -1 if it lacks the entry; [N, V] where
                   rows have several images
flat/checksums.json  their sizes and checksums (see `flat_sums`)

The shards hold the same data, and the arrays can be restored from them.
"""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.data.format import flat_sums, shards
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import Recorded, reading, reserve


def allocate(directory: Path, name: str, shape: tuple[int, ...], dtype: str) -> np.memmap:
    """Return a new mapped array, the file `flat/NAME.npy` of the store that is being made in `directory`."""
    path = directory / "flat" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    array = open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    reserve(path)
    return array


def has(directory: Path, name: str, *, values: bool = True) -> bool:
    """Return whether `flat/NAME.at.npy` and, with `values`, `flat/NAME.npy` exist."""
    folder = directory / "flat"
    return (folder / f"{name}.at.npy").is_file() and (not values or (folder / f"{name}.npy").is_file())


def read_at(directory: Path, name: str, entry: Entry, rows: int) -> np.ndarray:
    """Return the mapped file `flat/NAME.at.npy`, `[N]` or `[N, V]`."""
    path = directory / "flat" / f"{name}.at.npy"
    at = _mapped(path, np.dtype(np.int64))
    _check(path, at.shape == ((rows,) if entry.pictures == 1 else (rows, entry.pictures)))
    return at


def values(directory: Path, name: str, entry: Entry) -> np.ndarray:
    """Return the mapped file `flat/NAME.npy`, `[R, *entry.shape]`."""
    path = directory / "flat" / f"{name}.npy"
    array = _mapped(path, np.dtype(entry.dtype))
    _check(path, array.shape[-len(entry.shape) :] == entry.shape)
    return array.reshape(-1, *entry.shape)  # older stores have an axis for the images of a row


def read(directory: Path, name: str, entry: Entry, rows: np.ndarray, total: int) -> MappedRows:
    """Return the rows `rows` of an entry; `total` is the number of rows of the store."""
    array, at = values(directory, name, entry), read_at(directory, name, entry, total)
    _check(directory / "flat" / f"{name}.at.npy", int(at.max(initial=-1)) < len(array) and at.min(initial=0) >= -1)
    return MappedRows(array, at[rows], fill=KINDS[entry.kind].fill(array.dtype), optional=entry.optional)


def write_at(directory: Path, name: str, at: np.ndarray) -> None:
    """Write `flat/NAME.at.npy` of the store that is being made in `directory`."""
    (directory / "flat").mkdir(parents=True, exist_ok=True)
    np.save(directory / "flat" / f"{name}.at.npy", np.asarray(at, np.int64), allow_pickle=False)


def restore(
    directory: Path,
    schema: Schema,
    splits: Mapping[str, np.ndarray],
    names: Collection[str],
    *,
    without_values: Collection[str] = (),
) -> None:
    """Restore the flat arrays of these entries from the shards; the caller holds the store's lock.

    The files are moved into the folder when all of them have been written. `NAME.at.npy` is removed first and
    moved last, so another process reads both files of an entry or neither. If an undamaged `NAME.at.npy` is left,
    `NAME.npy` gets its rows in the same order as before; else they are in the order of the shards.
    """
    partial = directory / "flat.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "flat").mkdir(parents=True)
    total = sum(map(len, splits.values()))
    apart = shards.apart(directory, schema)
    arrays: dict[str, np.memmap] = {}
    indices: dict[str, np.ndarray] = {}
    kept: dict[str, np.ndarray] = {}
    for name in names:
        entry = schema.entries[name]
        several = () if entry.pictures == 1 else (entry.pictures,)
        indices[name] = np.arange(total * entry.pictures).reshape(total, *several)
        if (at := _recorded_at(directory, name)) is not None and at.shape == indices[name].shape:
            indices[name] = kept[name] = at
        if name not in without_values:
            count = sum(shards.lengths(directory / name, shards.ROWS)) if name in apart else indices[name].size
            count = int(kept[name].max(initial=-1)) + 1 if name in kept else count
            arrays[name] = allocate(partial, name, (count, *entry.shape), entry.dtype)
    if arrays.keys() - apart or (apart & indices.keys()) - kept.keys():
        for split, rows in splits.items():
            for row, example in zip(rows, shards.examples(directory, shards.NAME, split), strict=True):
                for name, at in indices.items():
                    if name in apart and name not in kept:
                        at[row] = np.array(example[name].int64_list.value).reshape(at.shape[1:])
                    elif name in arrays and name not in apart:
                        arrays[name][np.atleast_1d(at[row])] = shards.decoded(example[name], arrays[name])
    for name in apart & arrays.keys():
        rows = np.unique(kept[name][kept[name] >= 0]) if name in kept else np.arange(len(arrays[name]))
        for row, example in zip(rows, shards.examples(directory / name, name, shards.ROWS), strict=True):
            arrays[name][row] = shards.decoded(example[name], arrays[name])[0]
    for array in arrays.values():
        array.flush()
    for name, at in indices.items():
        write_at(partial, name, at)
    folder = directory / "flat"
    folder.mkdir(exist_ok=True)
    files = [file for name in names for file in (f"{name}.at.npy", *([f"{name}.npy"] if name in arrays else []))]
    gone = {file for name in names for file in (f"{name}.at.npy", f"{name}.npy")}
    others = {file: one for file, one in _records(folder).items() if file not in gone}
    flat_sums.replace(folder, others, ())  # a kill meanwhile leaves arrays without checksums, not with wrong ones
    for name in names:
        (folder / f"{name}.at.npy").unlink(missing_ok=True)
        (folder / f"{name}.npy").unlink(missing_ok=True)  # its rows may be in another order than the new `at` assumes
        if name in arrays:
            (partial / "flat" / f"{name}.npy").replace(folder / f"{name}.npy")
        (partial / "flat" / f"{name}.at.npy").replace(folder / f"{name}.at.npy")
    flat_sums.replace(folder, others, files)
    shutil.rmtree(partial)


def _recorded_at(directory: Path, name: str) -> np.ndarray | None:
    """Return `flat/NAME.at.npy` if the file is there and as recorded, else None."""
    path = directory / "flat" / f"{name}.at.npy"
    recorded = _records(path.parent).get(path.name)
    if recorded is None or recorded.fault(path, root=directory) is not None:
        return None
    return np.load(path, allow_pickle=False)


def _records(folder: Path) -> dict[str, Recorded]:
    """Return the records of the folder; {} if they are damaged, since they cannot be made again."""
    try:
        return flat_sums.records(folder)
    except UserError:
        return {}


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    flat_sums.compare(path)
    with reading(path, flat_sums.REMEDY):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    _check(path, array.dtype == dtype)
    return array


def _check(path: Path, fits: bool) -> None:
    check(bool(fits), f"{path} does not fit the store's entries.json; {flat_sums.REMEDY}.")
