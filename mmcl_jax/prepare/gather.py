"""Reading and joining everything that a request names except images, which take long."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.entries.columns import is_column, is_table, parsed_columns
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.inspection import listed_ids
from mmcl_jax.prepare.join.joined import Join, join
from mmcl_jax.prepare.join.main import Main, main_table
from mmcl_jax.prepare.join.people import People
from mmcl_jax.prepare.join.tables import Keys
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.reports.read import Reports
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.table.parse import Parsed
from mmcl_jax.prepare.table.rows import Rows, understand
from mmcl_jax.text import brief


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatheredEntries:
    """The joined rows of a request, with the values of everything except images.

    Attributes:
      main: the main table.
      join: all rows with their entries.
      columns: the columns of every further table and column target, by entry, with the values of all rows.
      ids: the identifiers of every split, or None if splits are not lists of identifiers.
      named: the names of the request's entries, in its order.
    """

    main: Main
    join: Join
    columns: Mapping[str, Sequence[Parsed]]
    ids: Mapping[str, list[str]] | None
    named: Sequence[str]

    @property
    def rows(self) -> Rows:
        """All rows."""
        return self.join.rows

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs: first `table` and `image` of the simple command line, then the request's entries."""
        return list(dict.fromkeys([*(name for name in self.join.main if name not in self.named), *self.named]))

    @property
    def targets(self) -> list[Parsed]:
        """The targets that are one column each."""
        return [self.columns[name][0] for name, entry in self.join.entries.items() if is_column(entry)]

    def usable(self, quarantine: Quarantine) -> "GatheredEntries":
        """Return these rows without bad entries; rows that have no entry left go to the quarantine."""
        joined = self.join.usable(quarantine, self.main.table)
        columns = {
            name: [_only(column, joined.entries[name].at >= 0) for column in parsed]
            for name, parsed in self.columns.items()
        }
        return dataclasses.replace(self, join=joined, columns=columns)


def gather(
    request: Request, recipe: Recipe | None, quarantine: Quarantine, like: Like | None = None
) -> GatheredEntries:
    """Read all tables and matrices, as the earlier store `like` does if there is one, and join them.

    Rows that cannot be used, that are outside the cohort, or that no list of identifiers has, go to the quarantine.

    Raises:
      UserError: something is wrong with the input; the message names the file, row or column.
    """
    main, tables = main_table(request, recipe), Keys(request.limits, recipe.tables if recipe else {})
    alone = not (request.entries or request.targets)
    if recipe is not None or main.request.table is not None:
        rows = understand(main.request, recipe, quarantine, tables=tables, alone=alone, entry=main.table)
    else:
        rows = Rows.none("the request")
    people = People.read(request)
    joined = join(request, main, rows, tables, quarantine, people=people, like=like)
    rows = joined.rows
    joined.warnings.extend(people.leave_out(rows, quarantine))
    check(len(rows.keys) > 0, "--request: no entry has a key.")
    columns = {
        name: parsed_columns(entry, rows, quarantine, *(like.reading(name) if like else ()))
        for name, entry in joined.entries.items()
        if is_column(entry) or is_table(entry)
    }
    labels = [label.name for label in rows.named("label")]
    for name, entry in joined.entries.items():
        twice = f"{entry.where}: {rows.source} has a label {name!r}, too; rename the target, or take it out of label."
        check(not (is_column(entry) and name in labels), twice)
    for entry in joined.entries.values():
        if isinstance(entry.content, Matrix):
            for row in np.flatnonzero(np.isin(entry.at, list(entry.content.bad))).tolist():
                reason = f"{entry.content.bad[int(entry.at[row])]} (key {brief(rows.keys[row])})"
                rows.leave_out(row, quarantine, "wrong number", reason, entry=entry.name)
        elif isinstance(entry.content, Reports):
            for row in np.flatnonzero(np.isin(entry.at, list(entry.content.bad))).tolist():
                cause, reason = entry.content.bad[int(entry.at[row])]
                rows.leave_out(row, quarantine, cause, reason, entry=entry.name)
    ids = listed_ids(request, recipe)
    check(
        not request.group_near_duplicates or (ids is None and not rows.named("split")),
        f"--group-near-duplicates needs splits that are drawn, but {rows.source} comes with its splits; leave it out.",
    )
    if ids is not None:
        ids = {split: rows.keys_of(names) for split, names in ids.items()}
        listed = {key for keys in ids.values() for key in keys}
        for row, key in enumerate(rows.keys):
            if key not in listed:
                reason = f"Its identifier {key!r} is in none of the lists of the splits."
                rows.leave_out(row, quarantine, "in no split", reason, chosen=True)
    rows.refuse(quarantine, request.max_bad)
    if not alone:
        for name, present in joined.present().items():
            quarantine.refuse_entry(request.max_bad, int(present.sum()), name)
        for name in labels:
            quarantine.refuse_entry(request.max_bad, rows.own, name)
    gathered = GatheredEntries(main=main, join=joined, columns=columns, ids=ids, named=tuple(request.entries))
    gathered = gathered if alone else gathered.usable(quarantine)
    check_left(gathered.rows, quarantine)
    return gathered


def check_left(rows: Rows, quarantine: Quarantine) -> np.ndarray:
    """Return the indices of the rows that are not in the quarantine. Raises `UserError` if there are none."""
    left = rows.left(quarantine)
    check(len(left) > 0, f"No row of {rows.source} is left: {_causes(quarantine)}.")
    return left


def _only(column: Parsed, present: np.ndarray) -> Parsed:
    """Return the column without the values of the rows where `present`, bool `[N]`, is false."""
    return dataclasses.replace(column, values=column.values.set(pl.Series(~present), None))


def _causes(quarantine: Quarantine) -> str:
    return ", ".join(f"{counted(count, 'row')} with {cause!r}" for cause, count in quarantine.causes().items())
