"""Joining the entries of a request: its rows, and where each entry of a row is read from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmcl_jax.errors import check, check_name
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.entries.burdens import with_carriers
from mmcl_jax.prepare.entries.genotypes import read_genotypes
from mmcl_jax.prepare.entries.matrix import Matrix, read_matrix
from mmcl_jax.prepare.entries.scores import read_scores
from mmcl_jax.prepare.join.folder import files_by_key
from mmcl_jax.prepare.join.keys import canonical, some
from mmcl_jax.prepare.join.main import Main
from mmcl_jax.prepare.join.people import People
from mmcl_jax.prepare.join.tables import Keyed, Keys
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.reports.read import Reports, read_reports
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import PICTURES, Source
from mmcl_jax.prepare.table.cells import nameless, text_of
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.prepare.table.table import require_columns
from mmcl_jax.text import brief

Content = Keyed | Matrix | Reports | dict[str, str]
Index = Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined:
    """An entry or target joined to the `N` rows.

    Attributes:
      name: of the entry.
      source: its declaration in the request.
      where: how sentences name it.
      content: its table, matrix or reports, or its file names by key.
      at: `[N]`, the row of the content (0 for files); -1 for rows that lack the entry.
      used: columns of its table that belong to other entries and targets.
    """

    name: str
    source: Source
    where: str
    content: Content
    at: np.ndarray
    used: tuple[str, ...] = ()

    @property
    def is_target(self) -> bool:
        """Whether the request has it among the targets."""
        return self.where.startswith("--request: targets.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Join:
    """All rows, with the entries and targets that are joined to the main table.

    Attributes:
      rows: the `N` rows.
      entries: the joined entries and targets, by name.
      main: the entries of the main table, by name: bool `[N]`, whether a row has the entry.
      warnings: sentences that a user should read.
    """

    rows: Rows
    entries: dict[str, Joined]
    main: dict[str, np.ndarray]
    warnings: list[str]

    def present(self) -> dict[str, np.ndarray]:
        """Return bool `[N]` for every entry and target, whether a row has it."""
        return self.main | {name: joined.at >= 0 for name, joined in self.entries.items()}

    def usable(self, quarantine: Quarantine, table: str) -> "Join":
        """Return the join without bad entries, and put rows that have no entry left into the quarantine.

        `table` is the name of the entry that the columns of the main table form.
        """
        lacking = {name: self.rows.lacking(quarantine, name) for name in (*self.main, *self.entries)}
        entries = {
            name: dataclasses.replace(joined, at=np.where(lacking[name], -1, joined.at))
            for name, joined in self.entries.items()
        }
        main = {name: present & ~lacking[name] for name, present in self.main.items()}
        rows = self.rows if table not in main else self.rows.without_features(lacking[table])
        made = dataclasses.replace(self, rows=rows, entries=entries, main=main)
        inputs = [present for name, present in made.present().items() if name in main or not entries[name].is_target]
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
    people: People,
    like: Like | None = None,
) -> Join:
    """Join all entries and targets to the rows of the main table.

    There is one row per key: first the keys of the main table, then the keys that only other entries have. Rows outside
    the cohort go to the quarantine, as chosen. Vectors and genotypes have the columns and variants of an earlier store,
    if there is one. `people` says whose genotypes and burdens are not counted.

    Raises:
      UserError: a source is missing or wrong, shares no key with another entry, or has too many bad rows.
    """
    where = {name: f"--request: entries.{name}" for name in request.entries}
    where |= {name: f"--request: targets.{name}" for name in request.targets}
    declared = {**request.entries, **request.targets}
    used = {name: _used_by_others(name, declared) for name in declared}
    sources = {
        name: dataclasses.replace(source, ignore=tuple(dict.fromkeys((*source.ignore, *used[name]))))
        if source.kind in ("vector", "burdens") and source.keys is None
        else source
        for name, source in declared.items()
        if name != main.table
    }
    opened = {
        name: _open(name, source, main.key, where[name], tables, quarantine, people, like)
        for name, source in sources.items()
    }
    read = [content for content, _ in opened.values() if isinstance(content, Matrix | Reports)]
    warnings = [told for content in read for told in content.warnings]
    for name, source in sources.items():
        if source.by:
            content, index = opened[name]
            found, told = _looked_up(source.by, index, rows, where[name], name)
            opened[name] = content, found
            warnings += told
    for file, total in tables.totals.items():
        quarantine.refuse_above(request.max_bad, total, file, file=file)

    own = {key: row for row, key in enumerate(rows.keys) if key}
    inputs: dict[str, Index] = {}
    if main.image:
        inputs[main.image] = {key: row for key, row in own.items() if rows.images[row]}
    if main.table:
        inputs[main.table] = own
    own_inputs = list(inputs)
    inputs |= {name: opened[name][1] for name in request.entries if name in opened}
    if sources:
        _check_keys(inputs, {name: opened[name][1] for name in sources}, where, own)
        rows = rows.extended([key for index in inputs.values() for key in index])
        _keep_cohort(request, rows, inputs, quarantine)
    entries = {}
    for name, (content, index) in opened.items():
        absent = 0 if sources[name].empty else -1  # a row of a mask that may be empty has it in any case
        at = np.array([index.get(key, absent) if key else -1 for key in rows.keys], int)
        entries[name] = Joined(
            name=name, source=sources[name], where=where[name], content=content, at=at, used=used[name]
        )
    present = {name: np.array([key in inputs[name] for key in rows.keys], bool) for name in own_inputs}
    warnings += _warn_of_unshared_keys(inputs, {name: opened[name][1] for name in sources}) if sources else []
    for file, keys in tables.twice.items():
        if keys:
            several = f"{counted(len(keys), 'key')} of {Path(file).name} {'is' if len(keys) == 1 else 'are'}"
            warnings.append(f"{several} in several rows, of which the first counts: {some(keys)}.")
    return Join(rows=rows, entries=entries, main=present, warnings=warnings)


def _used_by_others(name: str, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the columns of an entry's file that belong to other entries and targets, and must not be features."""
    file = sources[name].file
    others = [source for other, source in sources.items() if other != name and file and source.file == file]
    return tuple(dict.fromkeys(column for source in others for column in source.column))


def _looked_up(by: str, index: Index, rows: Rows, where: str, entry: str) -> tuple[Index, list[str]]:
    """Return the row of the content of each key of the main table, by a column that holds keys of the content.

    Raises:
      UserError: the main table has no such column, or none of its values is a key of the content.
    """
    columns = {column.name: column for column in rows.columns}
    check_name(by, columns, f"{where}: by: {rows.source} has no column", "its columns are")
    values = canonical(columns[by].values)
    found = {key: index[value] for key, value in zip(rows.keys, values, strict=True) if key and value in index}
    ours, theirs = some(list(index)) or "none", some(list(dict.fromkeys(filter(None, values)))) or "none"
    nobody = f"{where}: by: none of its {counted(len(index), 'key')} ({ours}) is in the column {by!r} of {rows.source}"
    check(bool(found), f"{nobody} ({theirs}); check how they are written.")
    alone = list(index.keys() - set(values))
    told = f"{counted(len(alone), 'key')} of {entry!r} {'is' if len(alone) == 1 else 'are'} of no row, and not used"
    return found, [f"{told}: {some(sorted(alone))}."] if alone else []


def _open(
    name: str,
    source: Source,
    key: str,
    where: str,
    tables: Keys,
    quarantine: Quarantine,
    people: People,
    like: Like | None,
) -> tuple[Content, Index]:
    """Return the content of a source, and the row of each key in it."""
    if source.kind == "genotypes":
        variants, folder = (like.variants(name), like.directory) if like else (None, Path())
        matrix = read_genotypes(source, where, tables.limits, excluded=people.excluded, like=variants, like_path=folder)
        return matrix, matrix.index
    features = like.names(name) if like else ()
    if source.kind == "scores":
        matrix = read_scores(source, where, features=features)
        return matrix, matrix.index
    # The column that a row is looked up by is one of the main table; the source has a key column of its own.
    key = source.by or key
    if source.kind in ("vector", "burdens"):
        matrix = read_matrix(source, key, where, tables, quarantine, features=features).checked()
        if source.kind == "burdens" and like is None:
            matrix = with_carriers(matrix, source, where, excluded=people.excluded)
        return matrix, matrix.index
    if source.kind == "text":
        return read_reports(name, source, key, where, tables, quarantine)
    if source.files:
        assert source.folder is not None
        files = files_by_key(source.folder, source.files, where, folders=source.kind == "volume")
        return files, dict.fromkeys(files, 0)
    keyed = tables.keyed(source, key, where, quarantine, repeated=source.kind == "boxes")
    require_columns(keyed.frame.columns, source.column, source.file)
    if source.kind not in PICTURES:
        return keyed, keyed.index
    present = np.zeros(len(keyed.keys), bool)
    for name in source.column:
        present |= (text_of(nameless(keyed.frame[name])).fill_null("") != "").to_numpy()
    return keyed, {text: row for text, row in keyed.index.items() if present[row]}


def _check_keys(inputs: Mapping[str, Index], opened: Mapping[str, Index], where: Mapping[str, str], own: Index) -> None:
    """Raise `UserError` for an entry that shares no key with any other entry."""
    for name, index in opened.items():
        check(bool(index), f"{where[name]}: none of its rows has both a key and a value.")
        others = {key: None for other, keys in inputs.items() if other != name for key in keys} or dict.fromkeys(own)
        if others and not any(key in others for key in index):
            ours, theirs = some(list(index)) or "none", some(list(others))
            sentence = f"{where[name]}: none of its {counted(len(index), 'key')} ({ours}) is a key of another entry"
            check(False, f"{sentence} ({theirs}); check which column is the key, and how keys are written.")


def _warn_of_unshared_keys(inputs: Mapping[str, Index], opened: Mapping[str, Index]) -> list[str]:
    """Return a sentence on every entry with keys that no other entry, or no row, has."""
    sentences = []
    for name, index in {**inputs, **opened}.items():
        others = {key for other, keys in inputs.items() if other != name for key in keys}
        alone = [key for key in index if key not in others]
        if alone and others:
            are = "is" if len(alone) == 1 else "are"
            which = "in no other entry" if name in inputs else "of no row, and not used"
            sentences.append(f"{counted(len(alone), 'key')} of {name!r} {are} {which}: {some(alone)}.")
    return sentences


def _keep_cohort(request: Request, rows: Rows, inputs: Mapping[str, Index], quarantine: Quarantine) -> None:
    """Put the rows that lack an entry required by the cohort into the quarantine."""
    why = "and the cohort is inner" if request.cohort == "inner" else "which is required"
    needed = [name for name in inputs if request.cohort == "inner" or request.requires(name)]
    for row, key in enumerate(rows.keys):
        absent = [name for name in needed if key not in inputs[name]] if key else []
        if absent:
            reason = f"The key {brief(key)} has no {absent[0]!r}, {why}."
            rows.leave_out(row, quarantine, f"no {absent[0]}", reason, chosen=True)
        elif key and not any(key in index for index in inputs.values()):
            rows.leave_out(row, quarantine, "no entry", f"The key {brief(key)} has no entry.", chosen=True)
