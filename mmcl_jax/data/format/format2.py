"""The files of a store of format 2, which version 0.1.0 made, read like those of the current format.

schema.json         columns, labels and the image's shape
splits.json         the keys of the rows of every split, and subsets.json of every subset
checksums.json      SHA-256 of every file
flat/image.npy      [R, ...] uint8: the images of all splits, in any order
flat/SPLIT/*.npy    arrays of a split: place (the index of each image in image.npy), id, table, labels

The rows of the store are numbered as in the shards: those of train, then val, then test.
"""

import functools
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.border import read_json
from mmcl_jax.data.format import shards
from mmcl_jax.data.format.checked import ANEW, Checked
from mmcl_jax.data.format.format3 import Rows, read_schema
from mmcl_jax.data.format.lists import Lists
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.format.shards import StreamedRows
from mmcl_jax.errors import check
from mmcl_jax.files import Recorded, reading, reserve
from mmcl_jax.lock import locked

FORMAT = 2
SUMS = "checksums.json"
REPLACED = (
    "schema.json",
    "splits.json",
    "subsets.json",
    SUMS,
)  # files that the current format does not have


class Format2:
    """The files of an opened store of format 2, with the attributes and methods of `Format3`."""

    def __init__(self, directory: Path) -> None:
        """Read the schema and the keys of the store.

        Raises:
          UserError: a file is missing or damaged.
        """
        self.directory = directory
        self.files = Checked(directory, SUMS)
        self.schema = read_schema(self.files, "schema.json")
        self._keys: dict[str, list[str]] = self.files.read("splits.json", _keys)
        self._subsets: dict[str, list[str]] = self.files.read("subsets.json", _keys)
        self.sizes = {split: len(keys) for split, keys in self._keys.items()}
        known = {key for keys in self._keys.values() for key in keys}
        for name, keys in self._subsets.items():
            inside = known.issuperset(keys)
            check(inside, f"{directory / 'subsets.json'}: {name} has a key that splits.json does not have; {ANEW}.")

    @functools.cached_property
    def lists(self) -> Lists:
        """The rows of splits and subsets, and the id of every row."""
        ends = np.cumsum(list(self.sizes.values()))
        splits = {split: np.arange(end - n, end) for (split, n), end in zip(self.sizes.items(), ends, strict=True)}
        row = {key: number for number, key in enumerate(self.keys())}
        subsets = {name: np.sort(np.array([row[key] for key in keys], int)) for name, keys in self._subsets.items()}
        return Lists(id=self._joined("id"), group=None, splits=splits, subsets=subsets, folds=[])

    def keys(self) -> list[str]:
        """Return the key of every row of the store."""
        return [key for keys in self._keys.values() for key in keys]

    def names(self, name: str) -> tuple[str, ...]:
        """Return (): no entry of this format has names."""
        return ()

    def has_values(self, names: Collection[str]) -> bool:
        """Return whether the mapped arrays of all these entries exist."""
        return self._has_arrays(images="image" in names)

    def read(self, names: Sequence[str], rows: np.ndarray, *, streamed: bool) -> dict[str, Rows]:
        """Return these rows of the entries; mapped arrays that were deleted are restored from the shards first."""
        self._restore(images="image" in names and not streamed)
        return {
            name: self._image(rows, streamed=streamed) if name == "image" else self._table(name, rows) for name in names
        }

    def large_files(self, names: Collection[str], *, streamed: bool) -> list[tuple[Path, Recorded]]:
        """Return []: no checksums of the arrays were recorded."""
        return []

    def _table(self, name: str, rows: np.ndarray) -> MappedRows:
        return MappedRows(self._joined(name), rows, fill=np.nan)

    def _image(self, rows: np.ndarray, *, streamed: bool) -> Rows:
        entry = self.schema.entries["image"]
        if streamed:
            paths = [path for split in self.sizes for path in shards.files(self.directory, shards.NAME, split)]
            sizes = [size for split in self.sizes for size in shards.lengths(self.directory, split)]
            return StreamedRows(paths, np.concatenate([[0], np.cumsum(sizes)]), "image", rows, entry, fill=0)
        values = _mapped(self.directory / "flat" / "image.npy").reshape(-1, *entry.shape)
        return MappedRows(values, self.image_at()[rows], fill=0)

    def image_at(self) -> np.ndarray:
        """Return the indices in the mapped array of the images of every row, `[N]` or `[N, V]`."""
        pictures = self.schema.entries["image"].pictures
        index = self._joined("place")
        return index if pictures == 1 else index[:, None] * pictures + np.arange(pictures)

    def _joined(self, name: str) -> np.ndarray:
        """Return the arrays `NAME.npy` of all splits, concatenated."""
        self._restore(images=False)
        return np.concatenate([_mapped(self.directory / "flat" / split / f"{name}.npy") for split in self.sizes])

    def _has_arrays(self, *, images: bool) -> bool:
        folder = self.directory / "flat"
        return all((folder / split / "place.npy").is_file() for split in self.sizes) and (
            not images or (folder / "image.npy").is_file()
        )

    def _restore(self, *, images: bool) -> None:
        """Restore mapped arrays that were deleted, from the shards."""
        if self._has_arrays(images=images):
            return
        with locked(self.directory / "flat.lock", what=f"restores {self.directory / 'flat'}", wait=True):
            if not self._has_arrays(images=images):  # another process may have restored them meanwhile
                self.files.check(path.name for path in self.directory.glob("*.array_record-*"))
                self._write_flat(images=images)

    def _write_flat(self, *, images: bool) -> None:
        """Write all arrays beside the folder `flat`, then move them into it, the images last."""
        partial, folder, entries = self.directory / "flat.partial", self.directory / "flat", self.schema.entries
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        pixels, done = None, 0
        if images:
            shape = (sum(self.sizes.values()), *entries["image"].stored)
            pixels = open_memmap(partial / "image.npy", mode="w+", dtype=np.uint8, shape=shape)
            reserve(partial / "image.npy")
        for split, count in self.sizes.items():
            ids = np.zeros(count, np.int64)
            tables = {name: np.zeros((count, len(self._columns(name)))) for name in ("table", "labels")}
            for row, example in enumerate(shards.examples(self.directory, shards.NAME, split)):
                ids[row] = example["id"].int64_list.value[0]
                for table in (name for name in tables if name in entries):
                    tables[table][row] = shards.decoded(example[table], tables[table])[0]
                if pixels is not None:
                    pixels[done + row] = shards.decoded(example["image"], pixels)[0]
            (partial / split).mkdir()
            for name, array in {"id": ids, **tables, "place": np.arange(done, done + count)}.items():
                np.save(partial / split / f"{name}.npy", array, allow_pickle=False)
            done += count
        if pixels is not None:
            pixels.flush()
        folder.mkdir(exist_ok=True)
        (folder / "image.npy").unlink(missing_ok=True)  # its rows may be in another order than the new arrays
        for split in self.sizes:
            (folder / split).mkdir(exist_ok=True)
            for name in ("id", "table", "labels", "place"):
                (partial / split / f"{name}.npy").replace(folder / split / f"{name}.npy")
        if images:
            (partial / "image.npy").replace(folder / "image.npy")
        shutil.rmtree(partial)

    def _columns(self, name: str) -> tuple[Any, ...]:
        return self.schema.columns if name == "table" else self.schema.labels


def _keys(path: Path) -> Any:
    return read_json(path, dict[str, list[str]], ANEW)


def _mapped(path: Path) -> np.ndarray:
    with reading(path, "remove the folder flat of the store, which is then made again from the shards"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
