"""The list of rows that are left out or lack an entry, each with its reason, and how many of them stop the build."""

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mmcl_jax.errors import UserError


class QuarantineEntry(NamedTuple):
    """A row (1 is the first after the header), its image, the short cause it is counted by, and the whole reason.

    `file` is where the row is, if that is not the table that gives the rows their numbers. `entry` is what cannot be
    used of the row, where other entries can be.
    """

    row: int
    image: str | None
    cause: str
    reason: str
    file: str = ""
    entry: str = ""


class Quarantine:
    """Rows that are left out, and entries that rows lack, because they are bad; of several reasons the first counts.

    Args:
      outer: whether a row may lack an entry. If not, a row with a bad one is left out.
      required: entries that no row may lack all the same.
    """

    def __init__(self, *, outer: bool = False, required: Collection[str] = ()) -> None:
        self._outer, self._required = outer, required
        self._entries: dict[tuple[str, int], QuarantineEntry] = {}
        self._chosen: dict[tuple[str, int], QuarantineEntry] = {}
        self._absent: dict[tuple[str, int], QuarantineEntry] = {}
        self._bad: dict[str, dict[int, QuarantineEntry]] = {}

    def add(
        self,
        row: int,
        image: str | None,
        cause: str,
        reason: str,
        *,
        chosen: bool = False,
        file: str = "",
        entry: str = "",
    ) -> None:
        """Leave out a row, or what is wrong in it: the `entry`, if rows may lack that.

        A row that was `chosen` to be left out, as by id files, does not count as bad.
        """
        added = QuarantineEntry(row, image, cause, reason, file, entry)
        if entry:
            self._bad.setdefault(entry, {}).setdefault(row, added)
        if entry and self._outer and entry not in self._required:
            self._absent.setdefault((entry, row), added)
        else:
            (self._chosen if chosen else self._entries).setdefault((file, row), added)

    def __contains__(self, row: int) -> bool:
        return ("", row) in self._entries or ("", row) in self._chosen

    @property
    def entries(self) -> list[QuarantineEntry]:
        """The rows that are left out, and then the entries that rows lack, each by row."""
        rows = [entry for _, entry in sorted({**self._chosen, **self._entries}.items())]
        return rows + [entry for _, entry in sorted(self._absent.items())]

    def absent(self, entry: str) -> list[int]:
        """Return the numbers of the rows that lack an entry because it is bad."""
        return [row for name, row in self._absent if name == entry]

    def causes(self) -> dict[str, int]:
        """Count the rows of each cause, most first; only rows that have numbers, not those of other files."""
        rows = {**self._chosen, **self._entries}.values()
        return dict(Counter(entry.cause for entry in rows if not entry.file).most_common())

    def causes_of(self, entry: str) -> dict[str, int]:
        """Return how many rows lack an entry for each cause, most first."""
        return dict(Counter(one.cause for (name, _), one in self._absent.items() if name == entry).most_common())

    def refuse_entry(self, rate: float, rows: int, entry: str) -> None:
        """Raise `UserError` about the first row with a bad entry if more than `rate` of the `rows` that have it are.

        In a row that is left out for it, the entry is bad, too.
        """
        bad = self._bad.get(entry, {})
        if len(bad) <= rate * rows * (1 + 1e-12):
            return
        more = f" {len(bad) - 1} more are bad." if len(bad) > 1 else ""
        raise UserError(
            f"{bad[min(bad)].reason}{more} In {len(bad)} of the {rows} rows that have it, {entry!r} cannot be used, "
            f"which is more than --max-bad {rate:g} allows; mend them, or allow more, and they are listed in "
            f"quarantine.jsonl."
        )

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
