"""Later data of the same kind: a table is read as that of an earlier store or run was, so that the run can take it.

Columns, their kinds, categories and order, the codes of classes, words for "no value", and how pictures are made to
fit are those of the store or run. Only rows, splits and statistics are new; evaluation uses the statistics of the run.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.data.format.format3 import ENTRIES, declaration_file, names_file
from mmcl_jax.data.schema import LABEL_TAG, Column, Entry, Schema
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.declaration import Declaration
from mmcl_jax.errors import check
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.join.main import Main, main_table
from mmcl_jax.prepare.like_sources import sources_like
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import Parsed

_FIT = tuple(field.name for field in dataclasses.fields(Fit) if field.name != "max_pixels")  # a limit, and no reading
_PICTURES = ("image_size", "channels", "bits", "stack", *_FIT)
_COLUMNS = ("schema", "label", "categorical", "decimal", "thousands", "missing")
_EXAMPLES = 3  # texts of a column that a warning shows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Like:
    """The store or run in `directory`, and how it reads tables and pictures.

    Attributes:
      directory: of the store or run.
      schema: columns, labels and pictures; without a label that was made a feature, which tables do not have.
      declaration: by which its cells are read.
      request: by which its pictures were made to fit.
      missing: the run's policy for missing values, empty for a store.
    """

    directory: Path
    schema: Schema
    declaration: Declaration
    request: Request
    missing: str

    @classmethod
    def open(cls, directory: Path) -> "Like":
        """Open a store or run.

        Raises:
          UserError: it is neither; or it is an early run, and its store is gone.
        """
        is_run = (directory / "config.json").is_file()
        check(
            is_run or (directory / "store.json").is_file(),
            f"--like: {directory} is neither a run (it has no config.json) nor a store (it has no store.json).",
        )
        made_by = directory / "store.json"
        origin = json.loads(made_by.read_text())
        if "request" not in origin:
            made_by = Path(origin["directory"]) / "store.json"
            check(
                made_by.is_file(),
                f"--like: {directory} does not say how its pictures were made to fit, and its store {made_by.parent} "
                "is gone; name that store where it is now, with --like STORE.",
            )
        request = Request.read(made_by, {})
        if is_run and (request.entries or request.targets):  # a run keeps less of them than its store
            there = made_by.parent if made_by.parent != directory else Path(origin["directory"])
            gone = (
                f"--like: the store {there} of the run {directory} is gone; name it where it is now, with --like STORE."
            )
            check((there / ENTRIES).is_file(), gone)
            changed = (
                f"--like: the store {there} has changed since the run {directory}; name a copy, with --like STORE."
            )
            check(Store.open(there).fingerprint == origin["fingerprint"], changed)
            made = cls.open(there)
            return dataclasses.replace(made, missing=json.loads((directory / "encoding.json").read_text())["missing"])
        entries = directory / ENTRIES  # of a store; a run, and a store of an earlier format, have a schema.json
        schema = Schema.read(entries if entries.is_file() else directory / "schema.json")
        columns = tuple(column for column in schema.columns if LABEL_TAG not in column.tags)
        return cls(
            directory=directory,
            schema=schema.with_columns(columns),
            declaration=Declaration.read(directory / "declaration.json"),
            request=request,
            missing=json.loads((directory / "encoding.json").read_text())["missing"] if is_run else "",
        )

    def applied(self, request: Request) -> Request:
        """Return the request with every choice that the store or run made.

        `--image-column`, `--key-column`, `--group-column` and `--split-column` name other columns than there, and
        `--ignore` leaves out the column of a key, group or label. The split column is not taken over, since later data
        need not be divided in advance.

        Raises:
          UserError: an option says otherwise than the store or run does.
        """
        default = Request()
        declaration = self._declaration(request)
        entries, targets = sources_like(self, request, declaration)
        own = {name: getattr(self.request, name) for name in _PICTURES}
        if not self.several or self.request.images is not None:
            pictures = len(declaration.named("image")) if self.request.stack == "channels" else 1
            own["channels"] = own["channels"] or self.schema.image.channels // max(1, pictures)
        own |= {**dict.fromkeys(_COLUMNS), "schema": declaration, "label": (), "categorical": ()}
        for name in (*_PICTURES, *_COLUMNS):
            given = getattr(request, name)
            check(
                given in (getattr(default, name), getattr(self.request, name), own[name]),
                f"--{name.replace('_', '-')}: with --like this is as in {self.directory}; leave the option out.",
            )
        ignore = tuple(name for name in request.ignore if name not in self.declaration.columns)
        if self.main.table in entries:  # whose columns are declared there
            own["schema"] = Declaration()
        return dataclasses.replace(request, **own, ignore=ignore, entries=entries, targets=targets)

    def _declaration(self, request: Request) -> Declaration:
        """Return the declarations of the columns that are needed; all others are ignored."""
        needed = {column.name: column for column in (*self.columns, *self.schema.labels)}
        features = {column.name for column in self.columns}
        elsewhere = {"image": request.image_column, "identifier": request.key_column, "group": request.group_column}
        columns = {}
        for name, declared in self.declaration.columns.items():
            if name in request.ignore:
                sentence = f"--ignore: {self.directory} needs the column {name!r} as it is a feature there."
                check(name not in features, sentence)
            elif self.several and declared.role in ("identifier", "ignore"):
                continue  # the join says which column is the key, and the sources which are theirs
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
        """The main table there."""
        return main_table(self.request)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the main table there."""
        return self.columns_of(self.main.table) if self.several else self.schema.columns

    def columns_of(self, name: str) -> tuple[Column, ...]:
        """Return the columns of an entry; () where no column of it was left to use."""
        return self.schema.entries[name].columns if name in self.schema.entries else ()

    def names(self, name: str) -> tuple[str, ...]:
        """Return the features of a vector."""
        path = self.directory / names_file(name)
        return tuple(path.read_text(encoding="utf-8").split("\n")[:-1]) if path.is_file() else ()

    def reading(self, name: str) -> tuple[Declaration, list[str]]:
        """Return how the cells of a further table, or of a target, are read there, and the names of its columns."""
        path = self.directory / declaration_file(name)
        kept = f"--like: {self.directory} does not say how the cells of {name!r} are read; prepare it again, and train."
        check(path.is_file(), kept)
        return Declaration.read(path), [column.name for column in self.columns_of(name)]

    def ordered(self, parsed: Sequence[Parsed], columns: Sequence[Column]) -> list[Parsed]:
        """Return the parsed columns of the new table in the order of `columns`. Raises `UserError` if one is absent."""
        by_name = {one.name: one for one in parsed}
        for column in columns:
            sentence = f"--like: {self.directory} has the column {column.name!r}, which this data set does not give."
            check(column.name in by_name, sentence)
        return [by_name[column.name] for column in columns]

    def labels(self, parsed: Sequence[Parsed]) -> tuple[Column, ...]:
        """Return the labels that the new table has."""
        names = {one.name for one in parsed}
        return tuple(label for label in self.schema.labels if label.name in names)

    def check_pictures(self, name: str, entry: Entry) -> None:
        """Raise `UserError` if the pictures of the new store are of another shape or type."""
        same = self.schema.entries[name]
        what = f"pictures in {self.directory}" if not self.several else f"pictures of {name!r} in {self.directory}"
        check(
            entry.stored == same.stored,
            f"--like: {what} have the shape {' x '.join(map(str, same.stored))}, the new ones "
            f"{' x '.join(map(str, entry.stored))}, and --image-size was not given there.",
        )
        typed = f"--like: {what} are stored as {same.dtype}, the new ones as {entry.dtype}; write them as those there."
        check(entry.dtype == same.dtype, typed)

    def warn(
        self, parsed: Sequence[Parsed], columns: Sequence[Column], values: np.ndarray, kept: np.ndarray
    ) -> list[str]:
        """Return sentences on texts that are in none of the known categories or classes: how many cells, and which.

        Args:
          parsed: columns of the new table, all features or all labels.
          columns: the same there.
          values: `[K, F]` of the kept rows, NaN for missing and unknown.
          kept: `[K]`, their places.
        """
        sentences = []
        for place, (one, column) in enumerate(zip(parsed, columns, strict=True)):
            texts = one.values.gather(kept)
            unknown = texts.filter(pl.Series(np.isnan(values[:, place])) & texts.is_not_null()).cast(pl.String)
            if not column.coded or not len(unknown):
                continue
            counts = unknown.alias("text").value_counts(name="rows").sort("rows", "text", descending=[True, False])
            examples = ", ".join(f"{text!r} ({rows})" for text, rows in counts.head(_EXAMPLES).iter_rows())
            rest = f" and {counts.height - _EXAMPLES} more" if counts.height > _EXAMPLES else ""
            is_label = column in self.schema.labels
            kind, become = ("classes", "have no label") if is_label else ("categories", "are missing")
            sentence = f"Column {one.name!r}: {len(unknown)} cells are {kind} that {self.directory} does not know"
            refused = self.missing == "refuse" and not is_label
            then = "; the run refuses missing values, so its table encoder cannot take these rows" if refused else ""
            sentences.append(f"{sentence}, and {become}: {examples}{rest}{then}.")
        return sentences


def open_like(request: Request) -> tuple[Request, Like | None]:
    """Return the request as `--like` completes it, and the store or run; without `--like`, the request itself.

    Raises:
      UserError: see `Like`.
    """
    if request.like is None:
        return request, None
    like = Like.open(request.like)
    return like.applied(request), like
