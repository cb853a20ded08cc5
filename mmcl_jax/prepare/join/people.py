"""Lists of people in a request: whom to keep, who withdrew, who has which ancestry, and who are relatives.

The person of a row is its group (`--group-column`) or, without groups, its key. Lists are text files with an identifier
(IID) per line, or with FID and IID as PLINK writes them; a line that begins with `#` is a header.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mmcl_jax.errors import UserError, check, check_name
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.join.keys import canonical, some
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.request import Ancestry, Request
from mmcl_jax.prepare.table.rows import Rows
from mmcl_jax.text import brief

_HEADERS = ("fid", "iid", "eid", "id")
_PAIRS = (("iid1", "iid2"), ("id1", "id2"))


@dataclasses.dataclass(frozen=True)
class People:
    """Who may be in a store.

    Attributes:
      kept: the people of the list to keep; None without one.
      withdrawn: the people who withdrew.
      ancestry: the people of the ancestry; None without a table.
      why: the sentence on a person who is not of the ancestry.
    """

    kept: frozenset[str] | None
    withdrawn: frozenset[str]
    ancestry: frozenset[str] | None
    why: str = ""

    @classmethod
    def read(cls, request: Request) -> "People":
        """Read the lists of a request.

        Raises:
          UserError: a file is missing or is no list of people.
        """
        kept = None if request.keep is None else frozenset(read_people(request.keep, "--keep"))
        withdrawn = frozenset(name for path in request.withdrawn for name in read_people(path, "--withdrawn"))
        if request.ancestry is None:
            return cls(kept, withdrawn, None)
        of = request.ancestry
        why = f"has no {of.column} of at least {of.minimum:g} in {of.file}."
        return cls(kept, withdrawn, frozenset(_of_ancestry(of)), why)

    def excluded(self, person: str) -> bool:
        """Return whether a person may not be in the store."""
        return self.reason(person) is not None

    def reason(self, person: str) -> tuple[str, str] | None:
        """Return why a person may not be in the store, as a cause and a sentence; None if the person may."""
        if person in self.withdrawn:
            return "withdrawn", f"The person {person!r} withdrew."
        if self.kept is not None and person not in self.kept:
            return "not kept", f"The person {person!r} is not on the list of people to keep."
        if self.ancestry is not None and person not in self.ancestry:
            return "ancestry", f"The person {person!r} {self.why}"
        return None

    def leave_out(self, rows: Rows, quarantine: Quarantine) -> list[str]:
        """Put the rows of people who may not be in the store into the quarantine; return sentences for the card."""
        if self == People(None, frozenset(), None):
            return []
        people = people_of(rows)
        for row, person in enumerate(people):
            if (why := self.reason(person)) is not None:
                rows.leave_out(row, quarantine, *why, chosen=True)
        gone = self.withdrawn.intersection(people)
        if not self.withdrawn:
            return []
        lacking = f"; {len(self.withdrawn) - len(gone):,} of the list are in no row" if self.withdrawn - gone else ""
        named = f": {some(sorted(gone))}" if gone else ""
        return [f"{counted(len(gone), 'person who withdrew is', 'people who withdrew are')} left out{named}{lacking}."]


def people_of(rows: Rows) -> list[str]:
    """Return the person of every row: its group or, without groups or a group, its key."""
    groups = rows.named("group")
    if not groups:
        return rows.keys
    return [person or key for person, key in zip(canonical(groups[0].values), rows.keys, strict=True)]


def read_people(path: Path, where: str) -> list[str]:
    """Return the identifiers of a list of people, in canonical form.

    Raises:
      UserError: the file is missing, is no text file, names nobody, or has a line of more than two columns.
    """
    people = []
    for number, line in enumerate(_lines(path, where), start=1):
        cells = re.split(r"[\s,]+", line.strip())
        if cells == [""] or line.startswith("#") or (number == 1 and {cell.lower() for cell in cells} <= set(_HEADERS)):
            continue
        wrong = f"{where}: line {number} of {path} has {len(cells)} columns; write an IID per line, or FID and IID."
        check(len(cells) <= 2, wrong)
        people.append(cells[-1])
    check(bool(people), f"{where}: {path} names nobody.")
    return canonical(pl.Series(people, dtype=pl.String))


def relatives(path: Path, kinship: float, people: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return the family `[N]` of each of N people, by a table of relatives, and the number of pairs among them.

    Relatives of relatives are one family, also by people who are not among the N.

    Args:
      path: a table of KING, PLINK 2 (`.kin0`) or UK Biobank, with the columns IID1 and IID2, or ID1 and ID2; with a
        column of kinship, pairs below `kinship` are no relatives.
      kinship: the least kinship; 0.0442 is the third degree.
      people: identifiers, in canonical form; one may occur more than once.

    Raises:
      UserError: the file is missing or lacks a column.
    """
    where = "--relatives"
    header, frame = _table(path, where)
    lower = [name.lower() for name in header]
    pair = next((pair for pair in _PAIRS if set(pair) <= set(lower)), None)
    if pair is None:
        raise UserError(
            f"{where}: {path} has no columns ID1 and ID2, or IID1 and IID2; it has {', '.join(header[:9])}."
        )
    pairs = [canonical(frame[lower.index(name)]) for name in pair]
    close = np.ones(len(pairs[0]), bool)
    if "kinship" in lower:
        close = _numbers(frame[lower.index("kinship")], path, where) >= kinship
    number = {name: index for index, name in enumerate(dict.fromkeys([*people, *pairs[0], *pairs[1]]))}
    first, second = (np.array([number[name] for name in names], int)[close] for names in pairs)
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), (len(number), len(number)))
    families = connected_components(graph, directed=False)[1]
    ours = set(people)
    among = sum(near and one in ours and other in ours for near, one, other in zip(close, *pairs, strict=True))
    return families[[number[name] for name in people]], int(among)


def _of_ancestry(of: Ancestry) -> list[str]:
    header, frame = _table(of.file, "--ancestry")
    for name in (of.key, of.column):
        check_name(name, header, f"--ancestry: {of.file} has no column", "its columns are")
    shares = _numbers(frame[header.index(of.column)], of.file, "--ancestry")
    people = canonical(frame[header.index(of.key)])
    return [person for person, share in zip(people, shares, strict=True) if share >= of.minimum]


def _table(path: Path, where: str) -> tuple[list[str], list[pl.Series]]:
    """Return the header and the columns, as texts, of a table that commas, tabs or blanks separate."""
    rows = [re.split(r"[\s,]+", line.strip()) for line in _lines(path, where) if line.strip()]
    check(bool(rows), f"{where}: {path} is empty.")
    header = [name.strip('"') for name in rows[0]]
    header[0] = header[0].lstrip("#")
    for number, row in enumerate(rows[1:], start=1):
        wrong = f"{where}: row {number} of {path} has {len(row)} cells, but the header {len(header)}."
        check(len(row) == len(header), wrong)
    columns = list(zip(*rows[1:], strict=True)) or [()] * len(header)
    return header, [pl.Series([text.strip('"') for text in column], dtype=pl.String) for column in columns]


def _numbers(cells: pl.Series, path: Path, where: str) -> np.ndarray:
    """Return cells as numbers; a missing one, NA, is NaN."""
    texts = cells.set(cells.str.to_lowercase().is_in(["na", "nan", ""]), None)
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & texts.is_not_null()).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise UserError(f"{where}: row {row + 1} of {path} holds {brief(cells[row])}, not a number.")
    return numbers.fill_null(np.nan).to_numpy()


def _lines(path: Path, where: str) -> list[str]:
    check(path.is_file(), f"{where}: the file {path} does not exist.")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: {path} is not a text file in UTF-8.") from error
