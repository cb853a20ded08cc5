"""A store: a prepared data set on disk.

store.json        request, versions and sizes; written last, so a folder without it is not a store
entries.json      the schema: kind, shape, type and columns of every entry
declaration.json  how cells of the raw table are read; declaration.NAME.json is for further tables
statistics.json   mean, std, fill and range of every column of the first table, from the training split alone
rows.npz          the rows of splits, subsets and folds; id and group of every row (see `lists`)
keys.json         the key (identifier or image path) of every row
NAME.names.txt    the features of a vector, or the tokens of a text, one per line
quarantine.jsonl  every row that was left out, with the reason
findings.json     findings about columns, images and splits
card.html         the data card, which shows these findings
manifest.json     size and SHA-256 of every other file, but of `flat`, which has its own
seal.json         size and SHA-256 of store.json and manifest.json; stores of earlier versions have none
*.array_record-*  the examples, in TFDS layout (see `shards`)
NAME/             the examples of an entry that rows share or lack, in the same layout
flat/             memory-mapped arrays of all entries (see `flat`), which training reads
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np

from mmcl_jax.border import AtLeast, read_json, typed
from mmcl_jax.bucket.border import local
from mmcl_jax.data.format.checked import ANEW
from mmcl_jax.data.format.format2 import SUMS, Format2
from mmcl_jax.data.format.format3 import FORMAT, MANIFEST, Format3, Rows
from mmcl_jax.data.format.lists import Lists
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.shown import shown
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.errors import check, check_name
from mmcl_jax.files import leads_out, sha256
from mmcl_jax.text import visible


class Upgraded(TypedDict):
    """What a store was before `mmcl upgrade`, and the checksum of the manifest that it wrote."""

    format: int
    version: str
    fingerprint: str
    manifest: str


class MadeBy(TypedDict):
    """The content of `store.json`. The request is read where it is used; see `prepare.request`."""

    format: Literal[2, 3]
    version: str
    request: NotRequired[dict[str, Any]]
    recipe: NotRequired[dict[str, Any] | None]
    sizes: dict[str, Annotated[int, AtLeast(0)]]
    upgraded: NotRequired[Upgraded]


@dataclasses.dataclass(frozen=True, repr=False)
class Store:
    """An opened store. `fingerprint` identifies its content; `sizes` are the numbers of rows per split."""

    directory: Path
    schema: Schema
    declaration: Declaration
    statistics: Statistics
    sizes: dict[str, int]
    fingerprint: str
    made_by: MadeBy
    layout: Format2 | Format3

    @classmethod
    def open(cls, directory: Path | str) -> "Store":
        """Open a store of the current format or of format 2; of a store in a bucket, a copy on this machine.

        Raises:
          UserError: the folder is not a store, has another format, or is damaged; or its address cannot be read.
        """
        path = local(directory)
        check(
            (path / "store.json").is_file(),
            f"{path} is not a store (it has no store.json); make one with mmcl prepare --out {path}.",
        )
        check(not leads_out(path / "store.json", path), f"{path / 'store.json'} is a link that leads out; {ANEW}.")
        raw = read_json(path / "store.json", dict[str, Any], ANEW, constants=True)
        formats: dict[int, type[Format2] | type[Format3]] = {2: Format2, FORMAT: Format3}
        number = typed(int, raw.get("format"), f"{path / 'store.json'}: format", ANEW)
        check(
            number in formats,
            f"The store {path} has format {number}, which this version does not read; make it again with mmcl prepare.",
        )
        made_by: MadeBy = typed(MadeBy, raw, str(path / "store.json"), ANEW)
        fingerprint = _fingerprint(path, made_by)
        layout = formats[number](path)
        statistics = layout.files.read("statistics.json", Statistics.read)
        statistics.check_fit(layout.schema, str(path / "statistics.json"))
        same = made_by["sizes"] == layout.sizes
        check(same, f"{path / 'store.json'}: sizes are not those of the store, {layout.sizes}; {ANEW}.")
        return cls(
            directory=path,
            schema=layout.schema,
            declaration=layout.files.read("declaration.json", Declaration.read),
            statistics=statistics,
            sizes=made_by["sizes"],
            fingerprint=fingerprint,
            made_by=made_by,
            layout=layout,
        )

    @property
    def lists(self) -> Lists:
        """The rows of splits, subsets and folds, and the id and group of every row."""
        return self.layout.lists

    @property
    def folds(self) -> Sequence[np.ndarray]:
        """The sorted rows of every fold, () without folds."""
        return self.lists.folds

    def rows_of(self, split: str, fold: int | None = None) -> np.ndarray:
        """Return the sorted indices of the rows of a split.

        With a fold, "test" is that fold, "val" the next fold (the first fold after the last), and "train" all other
        rows. If the folds lack the rows of the split test, "val" is that fold, and "test" the split.

        Raises:
          UserError: the store has no such split or fold.
        """
        return self.lists.rows_of(split, fold, self.directory)

    def read(
        self, split: str, names: Sequence[str], *, streamed: bool = False, fold: int | None = None
    ) -> dict[str, Rows]:
        """Return the rows of entries by name, each an object that is indexed by row of the split like an array.

        A row that lacks the entry holds NaN, 0 in pixels, -1 in a text, -127 in int8, and is false in the attribute
        `present`. The rows come from memory-mapped files, which are restored from the shards if the folder `flat` was
        deleted to save space. With `streamed`, images, volumes and vectors come from the shards, one record per row.

        Raises:
          UserError: the store has no such split, fold or entry.
        """
        rows = self.rows_of(split, fold)
        for name in names:
            check_name(name, self.schema.entries.keys(), f"The store {self.directory} has no entry", "it has")
        return self.layout.read(names, rows, streamed=streamed)

    def arrays(self, split: str, *, streamed: bool = False, fold: int | None = None) -> dict[str, Any]:
        """Return arrays of a split: `id` [N], and the first image, table and labels of the store.

        `image` is [N, ...], as `read` returns it, `table` [N, F] and, in a store with labels, `labels` [N, L] and
        `label` [N] (the code of the first class label, -1 for none).

        Raises:
          UserError: the store has no such split or fold.
        """
        arrays = self.rows(split, fold=fold)
        if image := self.schema.first("image"):
            arrays["image"] = self.read(split, [image], streamed=streamed, fold=fold)[image]
        return arrays

    def rows(self, split: str, *, fold: int | None = None) -> dict[str, Any]:
        """Return `arrays` without the images.

        Raises:
          UserError: the store has no such split or fold.
        """
        arrays = self.labels(split, fold=fold)
        table = self.schema.first("table")
        empty = np.zeros((len(arrays["id"]), 0))
        arrays["table"] = empty if table is None else np.asarray(self.read(split, [table], fold=fold)[table])
        return arrays

    def labels(self, split: str, *, fold: int | None = None) -> dict[str, Any]:
        """Return `rows` without the table.

        Raises:
          UserError: the store has no such split or fold.
        """
        arrays: dict[str, Any] = {"id": self.lists.id[self.rows_of(split, fold)]}
        if entry := self.schema.first("table", "target"):
            arrays["labels"] = np.asarray(self.read(split, [entry], fold=fold)[entry])
            if (codes := self.schema.codes(arrays["labels"])) is not None:
                arrays["label"] = codes
        return arrays

    def group(self, split: str, fold: int | None = None) -> np.ndarray | None:
        """Return the group `[N]` int64 of each row, such as its person; None for a store without groups."""
        rows = self.rows_of(split, fold)
        return None if self.lists.group is None else self.lists.group[rows]

    def keys(self, split: str, fold: int | None = None) -> list[str]:
        """Return the key of every row of the split."""
        keys = self.layout.keys()
        return [keys[row] for row in self.rows_of(split, fold)]

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of a vector's features, or the vocabulary of a text in the order of its tokens; else ()."""
        return self.layout.names(name)

    def fitted(self, name: str, fold: int | None = None) -> Any:
        """Return the statistics that an entry's kind fits on the training rows (see `Kind.fit`)."""
        rows = self.read("train", [name], fold=fold)[name]
        return KINDS[self.schema.entries[name].kind].fit(rows, name, self.schema, self.names(name))

    def subset(self, name: str, *, fold: int | None = None) -> tuple[str, np.ndarray]:
        """Return the split that a named subset was drawn from, and the indices of its rows within that split.

        Raises:
          UserError: the store has no such subset, or `fold` is not None: subsets are drawn from the store's own splits,
            and are another share of a fold's training rows.
        """
        subsets = self.lists.subsets
        check(
            fold is None,
            f"--subset: {name!r} is of the store's own splits, and the run was trained on a fold (config.fold={fold}); "
            f"use --fraction or --per-class.",
        )
        check_name(name, subsets.keys(), f"--subset: the store {self.directory} has no subset", "it has")
        split = name.split("_")[0]
        return split, np.searchsorted(self.rows_of(split), subsets[name])

    @property
    def warnings(self) -> list[str]:
        """What a user should read of it, worst first, such as columns that give the label away and are left out."""
        if "findings.json" not in self.layout.files.names:
            return []
        return self.layout.files.read("findings.json", _warnings)

    def __repr__(self) -> str:
        return "\n".join([self.describe(), *(f"  warning: {visible(line)}" for line in self.warnings)])

    def _repr_html_(self) -> str:
        return shown(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the rows, entries and labels of the store by name."""
        return {
            "directory": self.directory,
            "fingerprint": self.fingerprint,
            "rows": self.sizes,
            "folds": len(self.folds),
            "quarantined": self.quarantined(),
            "entries": {
                name: {"kind": entry.kind, "role": entry.role, "optional": entry.optional, "shape": entry.shape}
                for name, entry in self.schema.entries.items()
            },
            "labels": {
                label.name: {"kind": label.kind, "classes": list(label.categories) if label.coded else None}
                for label in self.schema.labels
            },
        }

    def quarantined(self) -> int:
        """Return the number of rows, and of entries of rows, that were left out."""
        if "quarantine.jsonl" not in self.layout.files.names:  # of a store of arrays
            return 0
        return self.layout.files.read("quarantine.jsonl", lambda path: len(path.read_text().splitlines()))

    def describe(self) -> str:
        """Return a description of the store, one line per entry."""
        sizes = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
        folds = f"; {len(self.folds)} folds" if self.folds else ""
        lines = {"rows": f"{sizes}{folds}; {self.quarantined()} quarantined"}
        for name, entry in self.schema.entries.items():
            if name != self.schema.first("table", "target"):
                content = KINDS[entry.kind].describe(name, self.schema, self.names(name))
                lines[name] = "; ".join(content) + (", not in every row" if entry.optional else "")
        labels = [
            f"{visible(label.name)} ({f'{len(label.categories)} classes' if label.coded else label.kind})"
            for label in self.schema.labels
        ]
        lines["labels"] = ", ".join(labels) or "none"
        width = max(map(len, lines))
        return "\n".join([visible(self.directory), *(f"  {name:{width}}  {text}" for name, text in lines.items())])


def _fingerprint(path: Path, made_by: MadeBy) -> str:
    """Return the fingerprint of the content; an upgraded store keeps the fingerprint that it had before."""
    file = path / (SUMS if made_by["format"] == 2 else MANIFEST)
    check(file.is_file(), f"{file} is missing; {ANEW}.")
    sums = sha256(file)
    if "upgraded" not in made_by:
        return sums
    upgraded = made_by["upgraded"]
    check(upgraded["manifest"] == sums, f"{path / MANIFEST} is not what mmcl upgrade wrote; {ANEW}.")
    return upgraded["fingerprint"]


def _warnings(path: Path) -> list[str]:
    warnings = read_json(path, dict[str, Any], ANEW, constants=True).get("warnings")
    return typed(list[str], warnings, f"{path}: warnings", ANEW)
