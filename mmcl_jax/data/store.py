"""A store: a prepared data set on disk.

store.json        what it was made of and with; written last, so a folder without it is not a store
schema.json       columns, categories, image shape, label
statistics.json   mean, std and fill of every column, from the training split alone
splits.json       the key (identifier or image path) of every row, per split
quarantine.jsonl  every row left out, with its reason
checksums.json    SHA-256 of every other file
*.array_record-*  the examples, in TFDS layout (see `shards`)
flat/SPLIT/*.npy  the same as memory-mapped arrays, which is what training reads
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from mmcl_jax.data import shards
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.errors import check

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Store:
    """An opened store. `fingerprint` identifies its content, `sizes` the number of rows per split."""

    directory: Path
    schema: Schema
    statistics: Statistics
    sizes: dict[str, int]
    fingerprint: str
    made_by: dict[str, Any]

    @classmethod
    def open(cls, directory: Path | str) -> "Store":
        """Opens a store.

        Raises:
          UserError: the folder is not a store, or one of another format.
        """
        path = Path(directory)
        check(
            (path / "store.json").is_file(),
            f"{path} is not a store (it has no store.json); make one with mmcl prepare --out {path}.",
        )
        made_by = json.loads((path / "store.json").read_text())
        check(
            made_by["format"] == FORMAT,
            f"The store {path} has format {made_by['format']}, not {FORMAT}; prepare it again.",
        )
        return cls(
            directory=path,
            schema=Schema.read(path / "schema.json"),
            statistics=Statistics.read(path / "statistics.json"),
            sizes=made_by["sizes"],
            fingerprint=_sha256(path / "checksums.json"),
            made_by=made_by,
        )

    def arrays(self, split: str) -> dict[str, np.ndarray]:
        """The split's rows, memory-mapped: `id` [N], `image` [N, H, W, C], `table` [N, F] and, if any, `label` [N].

        They are written again from the shards if the folder `flat` was deleted to save space.

        Raises:
          UserError: there is no such split.
        """
        check(
            split in self.sizes, f"The store {self.directory} has no split {split!r}; it has {', '.join(self.sizes)}."
        )
        folder = self.directory / "flat" / split
        if not folder.is_dir():
            for _ in copy_flat(shards.read_shards(self.directory, split), folder, self.sizes[split], self.schema):
                pass
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}

    def describe(self) -> str:
        """What the store holds, in a few lines."""
        schema = self.schema
        kinds = [column.kind for column in schema.columns]
        quarantined = len((self.directory / "quarantine.jsonl").read_text().splitlines())
        sizes = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
        label = f"{schema.label.name} ({len(schema.label.categories)} classes)" if schema.label else "none"
        return f"""{self.directory}
  rows    {sizes}; {quarantined} quarantined
  images  {" x ".join(map(str, schema.image.shape))} uint8 (resized: {schema.image.resize})
  table   {kinds.count("continuous")} continuous, {kinds.count("categorical")} categorical columns
  label   {label}"""

    def keys(self, split: str) -> list[str]:
        """The key of every row of the split."""
        return json.loads((self.directory / "splits.json").read_text())[split]


def copy_flat(examples: Iterable[shards.Example], folder: Path, count: int, schema: Schema) -> Iterator[shards.Example]:
    """Passes `count` examples through and writes them to flat arrays; `folder` appears when all are written."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "id": ((), np.int64),
        "image": (schema.image.shape, np.uint8),
        "table": ((len(schema.columns),), np.float64),
    }
    if schema.label:
        shapes["label"] = ((), np.int64)
    arrays = {
        name: open_memmap(partial / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape))
        for name, (shape, dtype) in shapes.items()
    }
    for index, example in enumerate(examples):
        for name, array in arrays.items():
            array[index] = example[name]
        yield example
    for array in arrays.values():
        array.flush()
    partial.rename(folder)


def write_checksums(directory: Path) -> None:
    """Writes `checksums.json`: SHA-256 of every file, except the flat copies, which the shards can restore."""
    files = sorted(p for p in directory.rglob("*") if p.is_file() and "flat" not in p.relative_to(directory).parts)
    sums = {str(path.relative_to(directory)): _sha256(path) for path in files}
    (directory / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
