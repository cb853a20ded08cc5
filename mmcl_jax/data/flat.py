"""The flat arrays of a store: what training reads, at the speed of memory.

flat/image.npy         [rows, ...] uint8: the images of all splits, in any order
flat/SPLIT/place.npy   [N] int64: where in it the images of a split are
flat/SPLIT/id.npy      [N] int64, table.npy [N, F] and labels.npy [N, L] float64

They hold nothing that the shards do not, and are restored from them.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.data.schema import Schema
from mmcl_jax.files import reading

_SMALL = ("id", "table", "labels")


class MappedImages:
    """Some rows of a mapped array, which can be indexed by rows like an array itself."""

    def __init__(self, array: np.ndarray, places: np.ndarray) -> None:
        """Takes the array and the places of the rows in it."""
        self._array, self._places = array, places
        self.shape = (len(places), *array.shape[1:])
        self.dtype, self.ndim = array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._array[self._places[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def is_whole(directory: Path, splits: Mapping[str, int], *, images: bool) -> bool:
    """Whether all arrays are there, with or without the images."""
    folder = directory / "flat"
    return all((folder / split / "place.npy").is_file() for split in splits) and (
        not images or (folder / "image.npy").is_file()
    )


def read(directory: Path, split: str, schema: Schema, *, images: bool) -> dict[str, Any]:
    """The arrays of a split: `id`, `table`, `image` if asked for, `labels` if there are any.

    And `label` [N] int64, if one of them is a class: the code of the first that is, -1 for none.
    """
    folder = directory / "flat"
    arrays: dict[str, Any] = {path.stem: _mapped(path) for path in sorted((folder / split).glob("*.npy"))}
    places = np.asarray(arrays.pop("place"))
    if images:
        arrays["image"] = MappedImages(_mapped(folder / "image.npy"), places)
    if not schema.labels:
        del arrays["labels"]
    elif (codes := schema.codes(arrays["labels"])) is not None:
        arrays["label"] = codes
    return arrays


def write_split(
    directory: Path, split: str, *, place: np.ndarray, id: np.ndarray, table: np.ndarray, labels: np.ndarray
) -> None:
    """Writes the small arrays of a split; `labels` has no columns where there are no labels."""
    folder = directory / "flat" / split
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"id": id.astype(np.int64), "table": table.astype(np.float64), "labels": labels.astype(np.float64)}
    assert tuple(arrays) == _SMALL
    for name, array in {**arrays, "place": place.astype(np.int64)}.items():  # the place last: it says "whole"
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def restore(
    directory: Path,
    schema: Schema,
    splits: Mapping[str, int],
    examples: Callable[[str], Iterable[Mapping[str, Any]]],
    *,
    images: bool,
) -> None:
    """Writes the arrays again from the `examples` of each split; hold the store's lock meanwhile.

    They are moved into the folder when all are written: the images last, since they say that everything fits together.
    Who reads meanwhile finds every file, of before or of now.
    """
    partial = directory / "flat.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "flat").mkdir(parents=True)
    total, done = sum(splits.values()), 0
    pixels: np.memmap | None = None
    if images:
        shape = (total, *schema.image.stored)
        pixels = open_memmap(partial / "flat" / "image.npy", mode="w+", dtype=np.uint8, shape=shape)
    for split, count in splits.items():
        ids, tables = np.zeros(count, np.int64), np.zeros((count, len(schema.columns)))
        labels = np.zeros((count, len(schema.labels)))
        for row, example in enumerate(examples(split)):
            ids[row], tables[row] = example["id"], example["table"]
            if schema.labels:
                labels[row] = example["labels"]
            if pixels is not None:
                pixels[done + row] = example["image"]
        write_split(partial, split, place=np.arange(done, done + count), id=ids, table=tables, labels=labels)
        done += count
    if pixels is not None:
        pixels.flush()
    whole = directory / "flat"
    whole.mkdir(exist_ok=True)
    (whole / "image.npy").unlink(missing_ok=True)  # its rows may be in another order than those that are moved here
    for split in splits:
        (whole / split).mkdir(exist_ok=True)
        for name in (*_SMALL, "place"):
            (partial / "flat" / split / f"{name}.npy").replace(whole / split / f"{name}.npy")
    if images:
        (partial / "flat" / "image.npy").replace(whole / "image.npy")
    shutil.rmtree(partial)


def _mapped(path: Path) -> np.ndarray:
    with reading(path, "remove the folder flat of the store, and it is made again from the shards"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
