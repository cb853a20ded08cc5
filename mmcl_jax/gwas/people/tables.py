"""Files of people: a row per person with FID and IID, and numbers, as PLINK and REGENIE read and write them."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl_jax.errors import UserError, check
from mmcl_jax.text import brief

_MISSING = frozenset({"", "NA", "NaN", "nan", "N/A", ".", "-9"})  # as PLINK reads phenotypes


@dataclasses.dataclass(frozen=True)
class People:
    """Numbers of people.

    Attributes:
      source: where they come from, for sentences.
      families: the FID of each person, "0" for none.
      ids: the IID of each person; no two are equal.
      names: of the columns.
      values: `[N, M]` float64, NaN for missing.
    """

    source: str
    families: tuple[str, ...]
    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row of each of some people, `[n]`; -1 for a person who is not here."""
        index = {one: row for row, one in enumerate(self.ids)}
        return np.array([index.get(one, -1) for one in ids], np.int64)

    def of(self, rows: np.ndarray) -> "People":
        """Return the people of some rows."""
        families, ids = (tuple(texts[row] for row in rows) for texts in (self.families, self.ids))
        return dataclasses.replace(self, families=families, ids=ids, values=self.values[rows])


def read_people(path: Path, option: str) -> People:
    """Read a file with a header line: `FID IID` (or `IID` alone, as plink2 writes without families), and numbers.

    Columns stand between tabs, between commas, or else between any blanks; the header may begin with `#`. NA, NaN, a
    dot, nothing and -9 are missing values.

    Args:
      path: the file.
      option: that names it, for sentences.

    Raises:
      UserError: the file is no such file; the sentence names the line and column.
    """
    check(path.is_file(), f"{option}: {path} does not exist, or is no file.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{option}: {path} is no text in UTF-8; give a text file with FID and IID.") from error
    header_at = next((number for number, line in enumerate(lines) if not line.startswith("##") and line.strip()), None)
    check(header_at is not None, f"{option}: {path} is empty; it needs a header with FID and IID.")
    assert header_at is not None
    header = lines[header_at].removeprefix("#")
    separator = next((mark for mark in "\t," if mark in header), None)
    columns = [name.strip() for name in header.split(separator)]
    check(
        "IID" in columns[:2] and (columns[0] in ("FID", "IID")),
        f"{option}: {path} begins with the columns {brief(' '.join(columns[:2]))}; its header must begin with FID and "
        "IID.",
    )
    for name in columns:
        check(columns.count(name) == 1, f"{option}: {path} has two columns {brief(name)}; rename one of them.")
    first = columns.index("IID") + 1
    check(len(columns) > first, f"{option}: {path} has no column behind IID; add a column of numbers.")

    families, ids, values = [], [], []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[header_at + 1 :], header_at + 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(separator)]
        expected = (
            f"{option}: line {number} of {path} has {len(cells)} columns, and its header {len(columns)}; mend the line."
        )
        check(len(cells) == len(columns), expected)
        person = cells[first - 1]
        check(
            person not in seen,
            f"{option}: {path} has the person {brief(person)} in lines {seen.get(person)} and {number}; keep one line.",
        )
        seen[person] = number
        families.append(cells[0] if first == 2 else "0")
        ids.append(person)
        values.append(
            [
                _number(cell, f"{option}: line {number} of {path}, column {brief(name)}")
                for name, cell in zip(columns[first:], cells[first:], strict=True)
            ]
        )
    check(len(ids) > 0, f"{option}: {path} has a header and no person.")
    return People(str(path), tuple(families), tuple(ids), tuple(columns[first:]), np.array(values, np.float64))


def _number(cell: str, where: str) -> float:
    if cell in _MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    check(math.isfinite(value), f"{where}: {brief(cell)} is no finite number; write a number, or NA.")
    return value
