"""A store: a prepared data set on disk.

store.json        what it was made of and with; written last, so a folder without it is not a store
schema.json       columns, categories, labels, image shape
declaration.json  how cells of the raw table are read
statistics.json   mean, std, fill and range of every column, from the training split alone
splits.json       the key (identifier or image path) of every row, per split
subsets.json      the keys of the rows of every named subset
quarantine.jsonl  every row left out, with its reason
findings.json     what was found out about columns, images and splits, and
card.html         the same to look at
checksums.json    SHA-256 of every other file
*.array_record-*  the examples, in TFDS layout (see `shards`)
flat/             the same as memory-mapped arrays (see `flat`), which is what training reads
"""

import dataclasses
import functools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data import flat, shards
from mmcl_jax.data.declaration import Declaration
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.statistics import Statistics
from mmcl_jax.errors import check
from mmcl_jax.files import reading, sha256
from mmcl_jax.lock import locked
from mmcl_jax.text import visible

FORMAT = 2
_DESCRIPTION = ("schema.json", "declaration.json", "statistics.json", "splits.json", "subsets.json")
_ANEW = "put a copy of the file back, or prepare the store again"


@dataclasses.dataclass(frozen=True)
class Store:
    """An opened store. `fingerprint` identifies its content, `sizes` the number of rows per split."""

    directory: Path
    schema: Schema
    declaration: Declaration
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
        with reading(path / "store.json", _ANEW):
            made_by = json.loads((path / "store.json").read_text())
        check(
            made_by["format"] == FORMAT,
            f"The store {path} has format {made_by['format']}, not {FORMAT}; prepare it again.",
        )
        _check_files(path, _DESCRIPTION)
        return cls(
            directory=path,
            schema=Schema.read(path / "schema.json"),
            declaration=Declaration.read(path / "declaration.json"),
            statistics=Statistics.read(path / "statistics.json"),
            sizes=made_by["sizes"],
            fingerprint=sha256(path / "checksums.json"),
            made_by=made_by,
        )

    def arrays(self, split: str, *, streamed: bool = False) -> dict[str, Any]:
        """The split's rows: `id` [N], `image` [N, ...], `table` [N, F] and, if there are labels, `labels` [N, L] and
        `label` [N] (the code of the first that is a class, -1 for none).

        `image` can be indexed by rows like an array. It reads a memory-mapped file, which is written again from the
        shards if the folder `flat` was deleted to save space; `streamed`, it reads the shards, one record per row.

        Raises:
          UserError: there is no such split.
        """
        arrays = self._flat(split, images=not streamed)
        if streamed:
            arrays["image"] = shards.StreamedImages(self.directory, split, self.schema.image.stored)
        return arrays

    def rows(self, split: str) -> dict[str, Any]:
        """`arrays` without the images.

        Raises:
          UserError: there is no such split.
        """
        return self._flat(split, images=False)

    def _flat(self, split: str, *, images: bool) -> dict[str, Any]:
        """The flat arrays of a split, restored if they were deleted."""
        check(
            split in self.sizes, f"The store {self.directory} has no split {split!r}; it has {', '.join(self.sizes)}."
        )
        if not flat.is_whole(self.directory, self.sizes, images=images):
            with locked(self.directory / "flat.lock", what=f"restores {self.directory / 'flat'}", wait=True):
                if not flat.is_whole(self.directory, self.sizes, images=images):  # now that nobody else writes
                    _check_files(self.directory, [path.name for path in self.directory.glob("*.array_record-*")])
                    examples = functools.partial(shards.read_shards, self.directory)
                    flat.restore(self.directory, self.schema, self.sizes, examples, images=images)
        return flat.read(self.directory, split, self.schema, images=images)

    def group(self, split: str) -> np.ndarray | None:
        """Return the code of the group of every row of the split, int64 [N]; None, as this format keeps none."""
        check(
            split in self.sizes, f"The store {self.directory} has no split {split!r}; it has {', '.join(self.sizes)}."
        )
        return None

    def keys(self, split: str) -> list[str]:
        """The key of every row of the split."""
        return json.loads((self.directory / "splits.json").read_text())[split]

    def subset(self, name: str) -> tuple[str, np.ndarray]:
        """The split that a named subset is of, and its rows within that split.

        Raises:
          UserError: there is no such subset.
        """
        subsets = json.loads((self.directory / "subsets.json").read_text())
        check(name in subsets, f"The store {self.directory} has no subset {name!r}; it has {', '.join(subsets)}.")
        split = name.split("_")[0]
        places = {key: place for place, key in enumerate(self.keys(split))}
        return split, np.array([places[key] for key in subsets[name]], int)

    def describe(self) -> str:
        """What the store holds, in a few lines."""
        schema = self.schema
        kinds = [column.kind for column in schema.columns]
        quarantined = len((self.directory / "quarantine.jsonl").read_text().splitlines())
        sizes = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        labels = [
            f"{visible(one.name)} ({f'{len(one.categories)} classes' if one.coded else one.kind})"
            for one in schema.labels
        ]
        return f"""{visible(self.directory)}
  rows    {sizes}; {quarantined} quarantined
  images  {" x ".join(map(str, schema.image.stored))} uint8 ({schema.image.fit})
  table   {len(kinds)} columns: {counts}
  labels  {", ".join(labels) or "none"}"""


def write_checksums(directory: Path) -> None:
    """Writes `checksums.json`: SHA-256 of every file, except the flat arrays, which the shards can restore."""
    files = sorted(p for p in directory.rglob("*") if p.is_file() and "flat" not in p.relative_to(directory).parts)
    with ThreadPoolExecutor() as threads:
        sums = dict(zip((str(path.relative_to(directory)) for path in files), threads.map(sha256, files), strict=True))
    (directory / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def _check_files(directory: Path, names: Sequence[str]) -> None:
    """Raise `UserError` unless these files of a store are what was written, by `checksums.json`."""
    with reading(directory / "checksums.json", _ANEW):
        sums = dict(json.loads((directory / "checksums.json").read_text()))
    for name in names:
        path = directory / name
        check(path.is_file(), f"{path} is missing; {_ANEW}.")
        check(
            sums.get(name) == sha256(path),
            f"{path} is damaged (its checksum is not that of what was written); {_ANEW}.",
        )
