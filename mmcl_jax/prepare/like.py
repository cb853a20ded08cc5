"""Later data of the same kind, which is read as in an earlier store or run, so that the run's model can take it.

Columns, their kinds, categories and order, the codes of classes, words for "no value", and the way images are made to
fit come from the store or run. Only rows, splits and statistics are new; evaluation uses the statistics of the run.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmcl_jax.border import read_json, typed
from mmcl_jax.bucket.border import local
from mmcl_jax.data.format.format3 import ENTRIES, LATER, LIKE, declaration_file, names_file
from mmcl_jax.data.schema import BACK, LABEL_TAG, Column, Entry, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.data.table.encoding import Policies
from mmcl_jax.errors import check
from mmcl_jax.files import damage
from mmcl_jax.genotypes import Variants
from mmcl_jax.prepare.entries.variants import read_variants, variants_file
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.join.main import Main, main_table
from mmcl_jax.prepare.like_sources import sources_like
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import Parsed

_FIT = tuple(field.name for field in dataclasses.fields(Fit) if not field.name.startswith("max_"))
_IMAGES = ("image_size", "channels", "bits", "stack", *_FIT)
_COLUMNS = ("schema", "label", "categorical", "decimal", "thousands", "missing")
_EXAMPLES = 3  # texts of a column that a warning shows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Like:
    """An earlier store or run, and how it reads tables and images.

    Attributes:
      directory: of the store or run.
      schema: columns, labels and images; without a label that was made a feature, which tables do not have.
      declaration: by which its cells are read.
      request: by which its images were made to fit.
      missing: the run's policy for missing values; empty for a store.
      files: the folder with the files by which entries are read: the store, or a folder of the run.
    """

    directory: Path
    schema: Schema
    declaration: Declaration
    request: Request
    missing: str
    files: Path

    @classmethod
    def open(cls, directory: Path) -> "Like":
        """Open a store or run.

        Raises:
          UserError: the directory is neither a store nor a run; or it is a run that needs its store, which is gone.
        """
        is_run = (directory / "config.json").is_file()
        check(
            is_run or (directory / "store.json").is_file(),
            f"--like: {directory} is neither a run (it has no config.json) nor a store (it has no store.json).",
        )
        if not is_run:
            store = Store.open(directory)
            others = [path.name for form in LATER for path in store.directory.glob(form)]
            store.layout.files.check(others)
            return cls._of(store.directory, store.schema, store.declaration, store.directory / "store.json")
        fault = damage(directory)
        check(fault is None, f"--like: {fault}; {BACK}.")
        made_by = directory / "store.json"
        origin = read_json(made_by, dict[str, Any], BACK)
        where = local(typed(str, origin.get("directory"), f"{made_by}: directory", BACK))
        if "request" not in origin:
            made_by = where / "store.json"
            check(
                made_by.is_file(),
                f"--like: the run {directory} does not record how its images were made to fit, and its store "
                f"{where} is gone; name the folder where that store is now, with --like STORE.",
            )
        request = Request.read(made_by, {})
        policies: Policies = read_json(directory / "encoding.json", Policies, BACK)
        several = bool(request.entries or request.targets)
        if several and not (directory / LIKE).is_dir():  # runs of earlier versions do not record how entries are read
            gone = f"--like: the store {where} of the run {directory} is gone; name its new folder with --like STORE."
            check((where / ENTRIES).is_file(), gone)
            changed = (
                f"--like: the store {where} has changed since the run {directory}; name an unchanged copy with "
                "--like STORE."
            )
            check(Store.open(where).fingerprint == origin.get("fingerprint"), changed)
            return dataclasses.replace(cls.open(where), missing=policies["missing"])
        schema, declaration = Schema.read(directory / "schema.json"), Declaration.read(directory / "declaration.json")
        files = directory / LIKE if several else directory
        return cls._of(directory, schema, declaration, made_by, missing=policies["missing"], files=files)

    @classmethod
    def _of(
        cls,
        directory: Path,
        schema: Schema,
        declaration: Declaration,
        made_by: Path,
        *,
        missing: str = "",
        files: Path | None = None,
    ) -> "Like":
        columns = tuple(column for column in schema.columns if LABEL_TAG not in column.tags)
        return cls(
            directory=directory,
            schema=schema.with_columns(columns),
            declaration=declaration,
            request=Request.read(made_by, {}),
            missing=missing,
            files=files or directory,
        )

    def applied(self, request: Request) -> Request:
        """Return the request completed by every choice of the store or run.

        The options `--image-column`, `--key-column`, `--group-column` and `--split-column` may name other columns, and
        `--ignore` may leave out the column of a key, group or label. The split column of the store or run is not used,
        since later data need not be divided in advance.

        Raises:
          UserError: an option contradicts the store or run.
        """
        default = Request()
        declaration = self._declaration(request)
        entries, targets = sources_like(self, request, declaration)
        own = {name: getattr(self.request, name) for name in _IMAGES}
        if not self.several or self.request.images is not None:
            pictures = len(declaration.named("image")) if self.request.stack == "channels" else 1
            own["channels"] = own["channels"] or self.schema.image.channels // max(1, pictures)
        own |= {**dict.fromkeys(_COLUMNS), "schema": declaration, "label": (), "categorical": ()}
        for name in (*_IMAGES, *_COLUMNS):
            same = getattr(request, name) in (getattr(default, name), getattr(self.request, name), own[name])
            check(same, f"--{name.replace('_', '-')}: --like takes this from {self.directory}; leave the option out.")
        ignore = tuple(name for name in request.ignore if name not in self.declaration.columns)
        if self.main.table in entries:  # the entry declares the columns
            own["schema"] = Declaration()
        return dataclasses.replace(request, **own, ignore=ignore, entries=entries, targets=targets)

    def _declaration(self, request: Request) -> Declaration:
        """Return the declarations of the columns that are needed; all other columns are ignored."""
        needed = {column.name: column for column in (*self.columns, *self.schema.labels)}
        features = {column.name for column in self.columns}
        elsewhere = {"image": request.image_column, "identifier": request.key_column, "group": request.group_column}
        columns = {}
        for name, declared in self.declaration.columns.items():
            if name in request.ignore:
                sentence = f"--ignore: {self.directory} needs the column {name!r}, which is one of its features."
                check(name not in features, sentence)
            elif self.several and declared.role in ("identifier", "ignore"):
                continue  # the join declares the key, and every source its own columns
            elif name in needed:
                columns[name] = dataclasses.replace(declared, unit=needed[name].unit, tags=needed[name].tags)
            elif declared.role in elsewhere and not elsewhere[declared.role]:
                columns[name] = declared
        return dataclasses.replace(self.declaration, columns=columns, others="ignore")

    @property
    def several(self) -> bool:
        """Whether the store has entries of several files."""
        return bool(self.request.entries or self.request.targets)

    @property
    def main(self) -> Main:
        """The main table of the store or run."""
        return main_table(self.request)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the main table of the store or run."""
        return self.columns_of(self.main.table) if self.several else self.schema.columns

    def columns_of(self, name: str) -> tuple[Column, ...]:
        """Return the columns of an entry; () if the store has none of them."""
        return self.schema.entries[name].columns if name in self.schema.entries else ()

    def names(self, name: str) -> tuple[str, ...]:
        """Return the features of a vector."""
        path = self.files / names_file(name)
        return tuple(path.read_text(encoding="utf-8").split("\n")[:-1]) if path.is_file() else ()

    def variants(self, name: str) -> Variants:
        """Return the variants of an entry of genotypes."""
        path = self.files / variants_file(name)
        check(path.is_file(), f"--like: {path} is missing; {BACK}.")
        return read_variants(path, BACK)

    def reading(self, name: str) -> tuple[Declaration, list[str]]:
        """Return the declaration of a further table or target in the store or run, and the names of its columns."""
        path = self.files / declaration_file(name)
        check(
            path.is_file(),
            f"--like: {self.directory} does not record how the cells of {name!r} are read; prepare the store again, "
            "and train on it.",
        )
        return Declaration.read(path), [column.name for column in self.columns_of(name)]

    def ordered(self, parsed: Sequence[Parsed], columns: Sequence[Column]) -> list[Parsed]:
        """Return the parsed columns of the new table in the order of `columns`. Raises `UserError` if one is absent."""
        by_name = {column.name: column for column in parsed}
        for column in columns:
            sentence = f"--like: {self.directory} has the column {column.name!r}, which this data set does not have."
            check(column.name in by_name, sentence)
        return [by_name[column.name] for column in columns]

    def labels(self, parsed: Sequence[Parsed]) -> tuple[Column, ...]:
        """Return the labels that the new table has."""
        names = {column.name for column in parsed}
        return tuple(label for label in self.schema.labels if label.name in names)

    def check_images(self, name: str, entry: Entry) -> None:
        """Raise `UserError` if the images of the new store have another shape or type."""
        earlier = self.schema.entries[name]
        images = f"images in {self.directory}" if not self.several else f"images of {name!r} in {self.directory}"
        check(
            entry.stored == earlier.stored,
            f"--like: {images} have the shape {' x '.join(map(str, earlier.stored))}, the new images "
            f"{' x '.join(map(str, entry.stored))}; bring the new files to the size of the old ones, since that store "
            "was prepared without --image-size.",
        )
        typed = (
            f"--like: {images} are stored as {earlier.dtype}, the new images as {entry.dtype}; write the new files "
            "with the type of the old ones."
        )
        check(entry.dtype == earlier.dtype, typed)

    def warn(
        self, parsed: Sequence[Parsed], columns: Sequence[Column], values: np.ndarray, kept: np.ndarray
    ) -> list[str]:
        """Return a sentence on every column with texts that are no category or class of the store or run.

        Args:
          parsed: columns of the new table, all features or all labels.
          columns: the same columns in the store or run.
          values: `[K, F]` of the kept rows, NaN for missing; unseen texts are NaN or -1.
          kept: `[K]`, indices of the kept rows.
        """
        sentences = []
        for index, (new, column) in enumerate(zip(parsed, columns, strict=True)):
            texts = new.values.gather(kept)
            unknown = texts.filter(pl.Series(~(values[:, index] >= 0)) & texts.is_not_null()).cast(pl.String)
            if not column.coded or not len(unknown):
                continue
            counts = unknown.alias("text").value_counts(name="rows").sort("rows", "text", descending=[True, False])
            examples = ", ".join(f"{text!r} ({rows})" for text, rows in counts.head(_EXAMPLES).iter_rows())
            rest = f" and {counts.height - _EXAMPLES} more" if counts.height > _EXAMPLES else ""
            is_label = column in self.schema.labels
            kind, become = ("classes", "have no label") if is_label else ("categories", "are missing")
            sentence = f"Column {new.name!r}: {len(unknown)} cells are {kind} that {self.directory} does not have"
            refused = self.missing == "refuse" and not is_label
            then = "; the run refuses missing values, so its table encoder cannot take these rows" if refused else ""
            sentences.append(f"{sentence}, and {become}: {examples}{rest}{then}.")
        return sentences


def open_like(request: Request) -> tuple[Request, Like | None]:
    """Return the request completed by the store or run of `--like`, and that store or run, or None without `--like`.

    Raises:
      UserError: see `Like`.
    """
    if request.like is None:
        return request, None
    like = Like.open(request.like)
    return like.applied(request), like
