"""A store: a prepared data set on disk.

store.json        what it was made of and with; written last, so a folder without it is not a store
entries.json      the schema: kind, shape, type and columns of every entry
declaration.json  how cells of the raw table are read, and declaration.NAME.json those of further tables
statistics.json   mean, std, fill and range of every column of the first table, from the training split alone
rows.npz          the rows of splits, subsets and folds; id and group of every row (see `lists`)
keys.json         the key (identifier or image path) of every row
NAME.names.txt    the features of a vector, or the tokens of a text, one a line
quarantine.jsonl  every row left out, with its reason
findings.json     what was found out about columns, images and splits, and
card.html         the same to look at
manifest.json     size and SHA-256 of every other file
*.array_record-*  the examples, in TFDS layout (see `shards`), and
NAME/             the same of an entry that rows share or lack
flat/             the same as memory-mapped arrays (see `flat`), which is what training reads
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format.checked import ANEW
from mmcl_jax.data.format.format2 import SUMS, Format2
from mmcl_jax.data.format.format3 import FORMAT, MANIFEST, Format3, Rows
from mmcl_jax.data.format.lists import Lists
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.shown import shown
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import UserError, check
from mmcl_jax.files import reading, sha256
from mmcl_jax.text import visible


@dataclasses.dataclass(frozen=True, repr=False)
class Store:
    """An opened store. `fingerprint` identifies its content, `sizes` the number of rows per split."""

    directory: Path
    schema: Schema
    declaration: Declaration
    statistics: Statistics
    sizes: dict[str, int]
    fingerprint: str
    made_by: dict[str, Any]
    layout: Format2 | Format3

    @classmethod
    def open(cls, directory: Path | str) -> "Store":
        """Open a store, of today's format or of format 2.

        Raises:
          UserError: the folder is not a store, one of another format, or damaged.
        """
        path = Path(directory)
        check(
            (path / "store.json").is_file(),
            f"{path} is not a store (it has no store.json); make one with mmcl prepare --out {path}.",
        )
        with reading(path / "store.json", ANEW):
            made_by = json.loads((path / "store.json").read_text())
            number, sizes = int(made_by["format"]), {name: int(size) for name, size in made_by["sizes"].items()}
        formats: dict[int, type[Format2] | type[Format3]] = {2: Format2, FORMAT: Format3}
        check(
            number in formats,
            f"The store {path} has format {number}, which this version does not read; prepare it again.",
        )
        layout = formats[number](path)
        return cls(
            directory=path,
            schema=layout.schema,
            declaration=layout.files.read("declaration.json", Declaration.read),
            statistics=layout.files.read("statistics.json", Statistics.read),
            sizes=sizes,
            fingerprint=_fingerprint(path, made_by),
            made_by=made_by,
            layout=layout,
        )

    @property
    def lists(self) -> Lists:
        """The rows of splits, subsets and folds, and the numbers that rows have."""
        return self.layout.lists

    @property
    def folds(self) -> Sequence[np.ndarray]:
        """The sorted rows of every fold, () for none."""
        return self.lists.folds

    def rows_of(self, split: str, fold: int | None = None) -> np.ndarray:
        """Return the sorted rows of the store that make up a split.

        With a fold, "test" are the rows of that fold, "val" those of the next one (of the first, behind the last), and
        "train" all others.

        Raises:
          UserError: there is no such split or fold.
        """
        return self.lists.rows_of(split, fold, self.directory)

    def read(
        self, split: str, names: Sequence[str], *, streamed: bool = False, fold: int | None = None
    ) -> dict[str, Rows]:
        """Return the rows of entries, each of which can be indexed by row of the split like an array.

        Rows that are absent have NaN, 0 in pixels, -1 in a text, -127 in int8; `present` of what is returned says which
        are not. Memory-mapped files are read, which are written again from the shards if the folder `flat` was deleted
        to save space; `streamed`, images, volumes and vectors are read from the shards, one record per row.

        Raises:
          UserError: there is no such split, fold or entry.
        """
        rows = self.rows_of(split, fold)
        for name in names:
            known = ", ".join(self.schema.entries)
            check(name in self.schema.entries, f"The store {self.directory} has no entry {name!r}; it has {known}.")
        return self.layout.read(names, rows, streamed=streamed)

    def arrays(self, split: str, *, streamed: bool = False, fold: int | None = None) -> dict[str, Any]:
        """Return the rows of a split: `id` [N], the first image, the first table and the first labels.

        `image` is [N, ...], `table` [N, F] and, if there are labels, `labels` [N, L] and `label` [N] (the code of the
        first that is a class, -1 for none). `image` is as `read` returns it.

        Raises:
          UserError: there is no such split or fold.
        """
        arrays = self.rows(split, fold=fold)
        if image := self.schema.first("image"):
            arrays["image"] = self.read(split, [image], streamed=streamed, fold=fold)[image]
        return arrays

    def rows(self, split: str, *, fold: int | None = None) -> dict[str, Any]:
        """Return `arrays` without the images.

        Raises:
          UserError: there is no such split or fold.
        """
        arrays = self.labels(split, fold=fold)
        table = self.schema.first("table")
        empty = np.zeros((len(arrays["id"]), 0))
        arrays["table"] = empty if table is None else np.asarray(self.read(split, [table], fold=fold)[table])
        return arrays

    def labels(self, split: str, *, fold: int | None = None) -> dict[str, Any]:
        """Return `rows` without the table.

        Raises:
          UserError: there is no such split or fold.
        """
        arrays: dict[str, Any] = {"id": self.lists.id[self.rows_of(split, fold)]}
        if entry := self.schema.first("table", "target"):
            arrays["labels"] = np.asarray(self.read(split, [entry], fold=fold)[entry])
            if (codes := self.schema.codes(arrays["labels"])) is not None:
                arrays["label"] = codes
        return arrays

    def group(self, split: str, fold: int | None = None) -> np.ndarray | None:
        """Return the group `[N]` int64 of each row of the split, such as a number of the person; None for no groups."""
        rows = self.rows_of(split, fold)
        return None if self.lists.group is None else self.lists.group[rows]

    def keys(self, split: str, fold: int | None = None) -> list[str]:
        """Return the key of every row of the split."""
        keys = self.layout.keys()
        return [keys[row] for row in self.rows_of(split, fold)]

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of a vector's features, or the tokens of a text in their order; () where there are none."""
        return self.layout.names(name)

    def fitted(self, name: str, fold: int | None = None) -> Any:
        """Return what the kind of an entry fits on the training rows, of a fold if asked (see `data.kinds`)."""
        rows = self.read("train", [name], fold=fold)[name]
        return KINDS[self.schema.entries[name].kind].fit(rows, name, self.schema, self.names(name))

    def subset(self, name: str, *, fold: int | None = None) -> tuple[str, np.ndarray]:
        """Return the split that a named subset is of, and its rows within that split.

        Raises:
          UserError: there is no such subset, or a fold is given: subsets are drawn from the store's own splits, and
            what a fold's split has of a subset is another share.
        """
        subsets = self.lists.subsets
        check(
            fold is None,
            f"--subset: {name!r} is of the store's own splits, and the run was trained on a fold (config.fold={fold}); "
            f"use --fraction or --per-class.",
        )
        check(name in subsets, f"The store {self.directory} has no subset {name!r}; it has {', '.join(subsets)}.")
        split = name.split("_")[0]
        return split, np.searchsorted(self.rows_of(split), subsets[name])

    @property
    def warnings(self) -> list[str]:
        """What a user should read of it, worst first, such as columns that give the label away and are left out."""
        path = self.directory / "findings.json"
        return list(json.loads(path.read_text())["warnings"]) if path.is_file() else []

    def __repr__(self) -> str:
        return "\n".join([self.describe(), *(f"  warning: {visible(line)}" for line in self.warnings)])

    def _repr_html_(self) -> str:
        return shown(self)

    def describe(self) -> str:
        """Describe the content of the store, in a few lines."""
        quarantined = len((self.directory / "quarantine.jsonl").read_text().splitlines())
        sizes = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
        folds = f"; {len(self.folds)} folds" if self.folds else ""
        lines = {"rows": f"{sizes}{folds}; {quarantined} quarantined"}
        for name, entry in self.schema.entries.items():
            if name != self.schema.first("table", "target"):
                said = KINDS[entry.kind].describe(name, self.schema, self.names(name))
                lines[name] = "; ".join(said) + (", not in every row" if entry.optional else "")
        labels = [
            f"{visible(one.name)} ({f'{len(one.categories)} classes' if one.coded else one.kind})"
            for one in self.schema.labels
        ]
        lines["labels"] = ", ".join(labels) or "none"
        width = max(map(len, lines))
        return "\n".join([visible(self.directory), *(f"  {name:{width}}  {said}" for name, said in lines.items())])


def _fingerprint(path: Path, made_by: dict[str, Any]) -> str:
    """Return what identifies the content: of an upgraded store, what did so before."""
    sums = sha256(path / (SUMS if made_by["format"] == 2 else MANIFEST))
    if "upgraded" not in made_by:
        return sums
    with reading(path / "store.json", ANEW):
        fingerprint, manifest = (str(made_by["upgraded"][key]) for key in ("fingerprint", "manifest"))
    if manifest != sums:
        raise UserError(f"{path / MANIFEST} is not what mmcl upgrade wrote; {ANEW}.")
    return fingerprint
