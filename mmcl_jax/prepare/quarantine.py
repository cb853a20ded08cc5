"""The quarantine: rows that are left out or lack an entry, each with its reason, and the limit on their number."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mmcl_jax.border import to_json
from mmcl_jax.errors import UserError


class QuarantineEntry(NamedTuple):
    """A row (1 is the first after the header), its image, the short cause that it counts under, and the full reason.

    `file` is the file of the row, if that is not the main table. `entry` is the entry of the row that cannot be used,
    if the reason concerns that entry alone.
    """

    row: int
    image: str | None
    cause: str
    reason: str
    file: str = ""
    entry: str = ""


class Quarantine:
    """The rows that are left out, and the entries that rows lack, because they are bad; the first reason counts.

    Args:
      outer: whether a row may lack an entry. If not, a row with a bad entry is left out.
      required: entries that no row may lack, though `outer` is true.
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
        """Leave out a row, or only its bad `entry`, if rows may lack that entry.

        A row that is left out by choice (`chosen`), for example by files of identifiers, does not count as bad.
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
        """The rows that are left out, followed by the entries that rows lack, both in the order of the rows."""
        rows = [entry for _, entry in sorted({**self._chosen, **self._entries}.items())]
        return rows + [entry for _, entry in sorted(self._absent.items())]

    def absent(self, entry: str) -> list[int]:
        """Return the numbers of the rows that lack an entry because the entry is bad."""
        return [row for name, row in self._absent if name == entry]

    def causes(self) -> dict[str, int]:
        """Count the rows of the main table by cause, the most frequent cause first."""
        rows = {**self._chosen, **self._entries}.values()
        return dict(Counter(entry.cause for entry in rows if not entry.file).most_common())

    def causes_of(self, entry: str) -> dict[str, int]:
        """Count the rows that lack an entry by cause, the most frequent cause first."""
        return dict(Counter(row.cause for (name, _), row in self._absent.items() if name == entry).most_common())

    def refuse_entry(self, rate: float, rows: int, entry: str) -> None:
        """Raise `UserError` about the first row with a bad entry if more than `rate` of the `rows` with it are bad.

        Rows that are left out for a bad entry count, too.
        """
        bad = self._bad.get(entry, {})
        if len(bad) <= rate * rows * (1 + 1e-12):
            return
        more = f" {len(bad) - 1} more are bad." if len(bad) > 1 else ""
        raise UserError(
            f"{bad[min(bad)].reason}{more} In {len(bad)} of the {rows} rows that have it, {entry!r} cannot be used, "
            f"which is more than --max-bad {rate:g} allows; correct them, or allow a larger share with --max-bad, and "
            f"quarantine.jsonl lists them."
        )

    def refuse_above(self, rate: float, rows: int, source: str, *, file: str = "", own: int | None = None) -> None:
        """Raise `UserError` about the first bad row if more than `rate` of the `rows` are bad.

        Args:
          rate: the share of rows that may be bad.
          rows: of the file.
          source: its name.
          file: the `file` of the entries that are counted.
          own: number of rows of the source itself; rows with larger numbers come from other files, which their reasons
            name. So do all reasons that begin with "Row".
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
            f"allows; correct them, or allow a larger share with --max-bad, and quarantine.jsonl lists them."
        )

    def write(self, path: Path) -> None:
        """Write one JSON object per line."""
        path.write_text("".join(to_json(entry._asdict()) + "\n" for entry in self.entries))
