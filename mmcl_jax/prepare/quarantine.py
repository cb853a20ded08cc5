"""The list of rows that are left out, each with its reason, and the rate above which the build stops."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mmcl_jax.errors import UserError


class Entry(NamedTuple):
    """A row (1 is the first after the header), its image, the short cause it is counted by, and the whole reason.

    `file` is where the row is, if that is not the table that gives the rows their numbers.
    """

    row: int
    image: str | None
    cause: str
    reason: str
    file: str = ""


class Quarantine:
    """Rows left out; of several reasons the first counts."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], Entry] = {}
        self._chosen: dict[tuple[str, int], Entry] = {}

    def add(
        self, row: int, image: str | None, cause: str, reason: str, *, chosen: bool = False, file: str = ""
    ) -> None:
        """Leave out a row. A row that was `chosen` to be left out, as by id files, does not count as bad."""
        entries = self._chosen if chosen else self._entries
        entries.setdefault((file, row), Entry(row, image, cause, reason, file))

    def __contains__(self, row: int) -> bool:
        return ("", row) in self._entries or ("", row) in self._chosen

    @property
    def entries(self) -> list[Entry]:
        """All of them, by row."""
        return [entry for _, entry in sorted({**self._chosen, **self._entries}.items())]

    def causes(self) -> dict[str, int]:
        """Count the rows of each cause, most first; only rows that have numbers, not those of other files."""
        return dict(Counter(entry.cause for entry in self.entries if not entry.file).most_common())

    def refuse_above(self, rate: float, rows: int, source: str, *, file: str = "", own: int | None = None) -> None:
        """Raise `UserError` about the first bad row if more than `rate` of the `rows` are bad.

        Args:
          rate: the share of rows that may be bad.
          rows: of the file.
          source: its name.
          file: the `file` of the entries that are counted.
          own: rows of the source itself; those with larger numbers are of other files. Their reasons say which, and so
            do other reasons that begin with a row.
        """
        entries = {row: entry for (name, row), entry in self._entries.items() if name == file}
        bad = len(entries)
        if bad <= rate * rows * (1 + 1e-12):  # 0.29 * 100 is less than 29
            return
        first = entries[min(entries)]
        numbered = (own is None or first.row <= own) and not first.reason.startswith("Row ")
        where = f"Row {first.row} of {source}: " if numbered else ""
        more = f" {bad - 1} more rows are bad." if bad > 1 else ""
        raise UserError(
            f"{where}{first.reason}{more} {bad} of {rows} rows are more than --max-bad {rate:g} "
            f"allows; mend them, or allow more, and they are listed in quarantine.jsonl."
        )

    def write(self, path: Path) -> None:
        """Write one JSON object per line."""
        path.write_text("".join(json.dumps(entry._asdict()) + "\n" for entry in self.entries))
