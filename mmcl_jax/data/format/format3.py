"""The files of a store of the current format (see `store`)."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.border import read_json
from mmcl_jax.data.format import flat, flat_sums, lists, shards
from mmcl_jax.data.format.checked import ANEW, Checked
from mmcl_jax.data.format.mapped import MappedRows
from mmcl_jax.data.format.shards import StreamedRows
from mmcl_jax.data.kinds import KINDS, check_read
from mmcl_jax.data.schema import Schema
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import Recorded
from mmcl_jax.lock import locked

FORMAT = 3
MANIFEST = "manifest.json"
SEAL = "seal.json"
SEALED = ("store.json", MANIFEST)  # what the seal has the checksums of; stores of earlier versions have no seal
ENTRIES = "entries.json"
KEYS = "keys.json"
LATER = ("declaration.*.json", "*.names.txt", "*.variants.tsv", "tokenizer.*.json")  # by which later files are read
LIKE = "like"  # the folder of a run with these files of its store
STREAMED = ("image", "volume", "vector")  # kinds whose mapped array may be larger than memory

Rows = MappedRows | StreamedRows


def names_file(name: str) -> str:
    """Return the name of the file with the features of a vector or the tokens of a text, one per line."""
    return f"{name}.names.txt"


def declaration_file(name: str) -> str:
    """Return the name of the file with the declaration of a further table, or of a label from one."""
    return f"declaration.{name}.json"


def read_schema(files: Checked, name: str) -> Schema:
    """Return the schema in a file of a store.

    Raises:
      UserError: the file is missing or damaged; the sentence names it and the entry.
    """
    schema = files.read(name, Schema.read)
    with _naming(files.directory / name):
        check_read(schema)
    return schema


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the name of a file to the `UserError` of a kind, which names the entry."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


class Format3:
    """The files of an opened store.

    Attributes:
      schema: schema of the store.
      lists: rows of its splits, subsets and folds.
      sizes: the number of rows of every split.
    """

    def __init__(self, directory: Path) -> None:
        """Read the schema and the lists of the store.

        Raises:
          UserError: a file is missing or damaged.
        """
        self.directory = directory
        if (directory / SEAL).exists() or (directory / SEAL).is_symlink():
            Checked(directory, SEAL).check(SEALED)
        self.files = Checked(directory, MANIFEST)
        self.schema = read_schema(self.files, ENTRIES)
        self.lists = self.files.read(lists.FILE, lists.Lists.read)
        self.sizes = {split: len(rows) for split, rows in self.lists.splits.items()}
        self.files.check([KEYS])

    def keys(self) -> list[str]:
        """Return the key of every row of the store."""
        keys: list[str] = self.files.read(KEYS, lambda path: read_json(path, list[str], ANEW))
        rows = len(self.lists.id)
        check(len(keys) == rows, f"{self.directory / KEYS} has the keys of {len(keys)} rows, not of {rows}; {ANEW}.")
        return keys

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of a vector's features or a text's tokens, () without them."""
        if names_file(name) not in self.files.names:
            return ()
        text = self.files.read(names_file(name), lambda path: path.read_text(encoding="utf-8"))
        names = tuple(text.split("\n")[:-1])
        with _naming(self.directory / names_file(name)):
            KINDS[self.schema.entries[name].kind].check(name, self.schema, names)
        return names

    def has_values(self, names: Collection[str]) -> bool:
        """Return whether the mapped arrays of all these entries exist."""
        return all(flat.has(self.directory, name) for name in names)

    def read(self, names: Sequence[str], rows: np.ndarray, *, streamed: bool) -> dict[str, Rows]:
        """Return these rows of the entries; mapped arrays that were deleted are restored from the shards first."""
        entries = self.schema.entries
        from_shards = [name for name in names if streamed and entries[name].kind in STREAMED]
        self._restore(names, from_shards)
        total = len(self.lists.id)
        return {
            name: self._streamed(name, rows)
            if name in from_shards
            else flat.read(self.directory, name, entries[name], rows, total)
            for name in names
        }

    def _restore(self, names: Sequence[str], from_shards: Collection[str]) -> None:
        def lacking() -> list[str]:
            return [name for name in names if not flat.has(self.directory, name, values=name not in from_shards)]

        if not lacking():
            return
        with locked(self.directory / "flat.lock", what=f"restores {self.directory / 'flat'}", wait=True):
            if missing := lacking():  # another process may have restored them while this one waited
                self._check_shards(contents=True)
                flat.restore(self.directory, self.schema, self.lists.splits, missing, without_values=from_shards)

    def _check_shards(self, *, contents: bool = False) -> None:
        """Raise `UserError` if a shard, or a file that tells their lengths, is missing or damaged.

        Without `contents`, shards are compared by size alone, and so is what is read from them by their own format.
        """
        self.files.check(name for name in self.files.names if name.endswith(shards.INFO))
        self.files.check((name for name in self.files.names if shards.is_shard(name)), contents=contents)

    def large_files(self, names: Collection[str], *, streamed: bool) -> list[tuple[Path, Recorded]]:
        """Return the files of these entries that are not compared when they are opened, with their records."""
        entries, folder = self.schema.entries, self.directory / "flat"
        from_shards = {name for name in names if streamed and entries[name].kind in STREAMED}
        recorded = flat_sums.records(folder)
        arrays = [f"{name}.npy" for name in names if name not in from_shards]
        large = [(folder / file, recorded[file]) for file in dict.fromkeys(arrays) if file in recorded]
        large = [(path, one) for path, one in large if one.bytes is not None and one.bytes > flat_sums.LARGE]
        parts = [name for name in self.files.names if from_shards and shards.is_shard(name)]
        return large + [(self.directory / name, self.files[name]) for name in parts]

    def _streamed(self, name: str, rows: np.ndarray) -> StreamedRows:
        entry = self.schema.entries[name]
        splits = self.lists.splits
        self._check_shards()
        if name in shards.apart(self.directory, self.schema):
            folder, of, parts = self.directory / name, name, [shards.ROWS]
            # The entry's own data set has the rows that `at` refers to, in order.
            at = flat.read_at(self.directory, name, entry, len(self.lists.id))
            records = np.where(at < 0, -1, np.searchsorted(np.unique(at[at >= 0]), at))
        else:
            folder, of, parts = self.directory, shards.NAME, list(splits)
            records = np.empty(len(self.lists.id), np.int64)
            records[np.concatenate(list(splits.values()))] = np.arange(len(records))
        paths = [path for part in parts for path in shards.files(folder, of, part)]
        sizes = [size for part in parts for size in shards.lengths(folder, part)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        fill = KINDS[entry.kind].fill(np.dtype(entry.dtype))
        return StreamedRows(paths, starts, name, records[rows], entry, fill=fill)
