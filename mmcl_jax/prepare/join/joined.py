"""Which rows a request has, and where the value of each entry of a row is."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.entries.matrix import Matrix, read_matrix
from mmcl_jax.prepare.join.folder import files_by_key
from mmcl_jax.prepare.join.keys import some
from mmcl_jax.prepare.join.main import Main
from mmcl_jax.prepare.join.tables import Keyed, Keys
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import PICTURES, Source
from mmcl_jax.prepare.table.cells import nameless, text_of
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.prepare.table.table import require_columns

Content = Keyed | Matrix | dict[str, str]
Index = Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined:
    """An entry or target, and where it is for each of the `N` rows.

    Attributes:
      name: of the entry.
      source: what the request says of it.
      where: what sentences call it.
      content: its table or matrix, or names of files by key.
      at: `[N]`, the row of the content (0 for files); -1 for rows that lack the entry.
      used: columns of its table that other entries and targets take.
    """

    name: str
    source: Source
    where: str
    content: Content
    at: np.ndarray
    used: tuple[str, ...] = ()

    @property
    def is_target(self) -> bool:
        """Whether it is a target."""
        return self.where.startswith("--request: targets.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Join:
    """All rows, all entries and targets but those of the main table, and where these are.

    Attributes:
      rows: all of them.
      entries: by name.
      main: of the entries of the main table, bool `[N]`, whether a row has them.
      warnings: sentences that a user should read.
    """

    rows: Rows
    entries: dict[str, Joined]
    main: dict[str, np.ndarray]
    warnings: list[str]

    def present(self) -> dict[str, np.ndarray]:
        """Return bool `[N]` for every entry and target, whether a row has it."""
        return self.main | {name: one.at >= 0 for name, one in self.entries.items()}

    def usable(self, quarantine: Quarantine, table: str) -> "Join":
        """Return the join without the entries that are bad, and leave out the rows of which no entry is left.

        `table` is the entry that the columns of the main table make up.
        """
        lacking = {name: self.rows.lacking(quarantine, name) for name in (*self.main, *self.entries)}
        entries = {
            name: dataclasses.replace(one, at=np.where(lacking[name], -1, one.at)) for name, one in self.entries.items()
        }
        main = {name: there & ~lacking[name] for name, there in self.main.items()}
        rows = self.rows if table not in main else self.rows.without_features(lacking[table])
        made = dataclasses.replace(self, rows=rows, entries=entries, main=main)
        inputs = [there for name, there in made.present().items() if name in main or not entries[name].is_target]
        none = ~np.any(inputs, axis=0) & np.any(list(lacking.values()), axis=0)
        for row in np.flatnonzero(none).tolist():
            rows.leave_out(row, quarantine, "no entry left", f"No entry of {rows.called(row)} is left.", chosen=True)
        return made


def join(
    request: Request,
    main: Main,
    rows: Rows,
    tables: Keys,
    quarantine: Quarantine,
    *,
    features: Callable[[str], tuple[str, ...]] | None = None,
) -> Join:
    """Join all entries and targets to the rows of the main table.

    `features` gives the columns that a vector is to have, by its name; by default those that it has.

    A row is a key: those of the main table, and then those that only other entries have. Rows that the cohort does not
    keep go to the quarantine, as chosen.

    Raises:
      UserError: a source is missing or wrong, none of its keys is that of another, or too many of its rows are bad.
    """
    where = {name: f"--request: entries.{name}" for name in request.entries}
    where |= {name: f"--request: targets.{name}" for name in request.targets}
    every = {**request.entries, **request.targets}
    used = {name: _used_by_others(name, every) for name in every}
    sources = {
        name: dataclasses.replace(one, ignore=tuple(dict.fromkeys((*one.ignore, *used[name]))))
        if one.kind == "vector" and one.keys is None
        else one
        for name, one in every.items()
        if name != main.table
    }
    opened = {
        name: _open(one, main.key, where[name], tables, quarantine, features(name) if features else ())
        for name, one in sources.items()
    }
    for file, total in tables.totals.items():
        quarantine.refuse_above(request.max_bad, total, file, file=file)

    own = {key: row for row, key in enumerate(rows.keys) if key}
    inputs: dict[str, Index] = {}
    if main.image:
        inputs[main.image] = {key: row for key, row in own.items() if rows.images[row]}
    if main.table:
        inputs[main.table] = own
    ours = list(inputs)
    inputs |= {name: opened[name][1] for name in request.entries if name in opened}
    if sources:
        _check_keys(inputs, {name: opened[name][1] for name in sources}, where, own)
        rows = rows.extended([key for index in inputs.values() for key in index])
        _keep_cohort(request, rows, inputs, quarantine)
    entries = {}
    for name, (content, index) in opened.items():
        at = np.array([index.get(key, -1) if key else -1 for key in rows.keys], int)
        entries[name] = Joined(
            name=name, source=sources[name], where=where[name], content=content, at=at, used=used[name]
        )
    present = {name: np.array([key in inputs[name] for key in rows.keys], bool) for name in ours}
    warnings = _strangers(inputs, {name: opened[name][1] for name in sources}) if sources else []
    for file, keys in tables.twice.items():
        if keys:
            once = (
                f"{counted(len(keys), 'key')} of {Path(file).name} {'is' if len(keys) == 1 else 'are'} in several rows"
            )
            warnings.append(f"{once}, of which the first counts: {some(keys)}.")
    return Join(rows=rows, entries=entries, main=present, warnings=warnings)


def _used_by_others(name: str, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the columns of an entry's file that other entries and targets take; a target must not be a feature."""
    others = [one for other, one in sources.items() if other != name and one.file == sources[name].file]
    return tuple(dict.fromkeys(column for one in others for column in one.column))


def _open(
    source: Source, key: str, where: str, tables: Keys, quarantine: Quarantine, features: tuple[str, ...]
) -> tuple[Content, Index]:
    """Return what a source holds, and where each key is in it."""
    if source.kind == "vector":
        matrix = read_matrix(source, key, where, tables, quarantine, features=features).looked_at()
        return matrix, matrix.index
    if source.files:
        assert source.folder is not None
        files = files_by_key(source.folder, source.files, where, folders=source.kind == "volume")
        return files, dict.fromkeys(files, 0)
    keyed = tables.keyed(source, key, where, quarantine, repeated=source.kind == "boxes")
    require_columns(keyed.frame.columns, source.column, source.file)
    if source.kind not in (*PICTURES, "text"):
        return keyed, keyed.index
    there_is = source.vocabulary is None or source.vocabulary.is_file()
    check(there_is, f"{where}: the vocabulary {source.vocabulary} does not exist.")
    there = np.zeros(len(keyed.keys), bool)
    for name in source.column:
        there |= (text_of(nameless(keyed.frame[name])).fill_null("") != "").to_numpy()
    return keyed, {one: row for one, row in keyed.index.items() if there[row]}


def _check_keys(inputs: Mapping[str, Index], opened: Mapping[str, Index], where: Mapping[str, str], own: Index) -> None:
    """Raise `UserError` for an entry of which no key is that of another."""
    for name, index in opened.items():
        check(bool(index), f"{where[name]}: no row of it has a key and a value.")
        others = {key: None for other, keys in inputs.items() if other != name for key in keys} or dict.fromkeys(own)
        if others and not any(key in others for key in index):
            ours, theirs = some(list(index)) or "none", some(list(others))
            sentence = f"{where[name]}: none of its {counted(len(index), 'key')} ({ours}) is a key of another entry"
            check(False, f"{sentence} ({theirs}); check which column is the key, and how keys are written.")


def _strangers(inputs: Mapping[str, Index], opened: Mapping[str, Index]) -> list[str]:
    """Return a sentence on every entry with keys that no other entry, or no row, has."""
    sentences = []
    for name, index in {**inputs, **opened}.items():
        others = {key for other, keys in inputs.items() if other != name for key in keys}
        alone = [key for key in index if key not in others]
        if alone and others:
            are = "is" if len(alone) == 1 else "are"
            what = "in no other entry" if name in inputs else "of no row, and not used"
            sentences.append(f"{counted(len(alone), 'key')} of {name!r} {are} {what}: {some(alone)}.")
    return sentences


def _keep_cohort(request: Request, rows: Rows, inputs: Mapping[str, Index], quarantine: Quarantine) -> None:
    """Leave out the rows that lack an entry that the cohort needs."""
    why = "and the cohort is inner" if request.cohort == "inner" else "which is required"
    needed = [name for name in inputs if request.cohort == "inner" or request.requires(name)]
    for row, key in enumerate(rows.keys):
        absent = [name for name in needed if key not in inputs[name]] if key else []
        if absent:
            reason = f"The key {key!r} has no {absent[0]!r}, {why}."
            rows.leave_out(row, quarantine, f"no {absent[0]}", reason, chosen=True)
        elif key and not any(key in index for index in inputs.values()):
            rows.leave_out(row, quarantine, "no entry", f"The key {key!r} has no entry.", chosen=True)
