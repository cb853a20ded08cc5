"""The list of rows that are left out, each with its reason, and the rate above which the build stops."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mmcl_jax.errors import UserError


class Entry(NamedTuple):
    """A row (1 is the first after the header), its image, the short cause it is counted by, and the whole reason."""

    row: int
    image: str | None
    cause: str
    reason: str


class Quarantine:
    """Rows left out; of several reasons the first counts."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._chosen: dict[int, Entry] = {}

    def add(self, row: int, image: str | None, cause: str, reason: str, *, chosen: bool = False) -> None:
        """Leaves out a row. One that was `chosen` to be left out, as by id files, does not count as bad."""
        (self._chosen if chosen else self._entries).setdefault(row, Entry(row, image, cause, reason))

    def __contains__(self, row: int) -> bool:
        return row in self._entries or row in self._chosen

    @property
    def entries(self) -> list[Entry]:
        """All of them, by row."""
        return [entry for _, entry in sorted({**self._chosen, **self._entries}.items())]

    def causes(self) -> dict[str, int]:
        """How many rows each cause took, most first."""
        return dict(Counter(entry.cause for entry in self.entries).most_common())

    def refuse_above(self, rate: float, rows: int, source: str) -> None:
        """Raises `UserError` about the first bad row if more than `rate` of the `rows` are bad."""
        bad = len(self._entries)
        if bad <= rate * rows * (1 + 1e-12):  # 0.29 * 100 is less than 29
            return
        first = self._entries[min(self._entries)]
        more = f" {bad - 1} more rows are bad." if bad > 1 else ""
        raise UserError(
            f"Row {first.row} of {source}: {first.reason}{more} {bad} of {rows} rows are more than --max-bad {rate:g} "
            f"allows; mend them, or allow more, and they are listed in quarantine.jsonl."
        )

    def write(self, path: Path) -> None:
        """Writes one JSON object per line."""
        path.write_text("".join(json.dumps(entry._asdict()) + "\n" for entry in self.entries))


def read_quarantine(path: Path) -> list[Entry]:
    """Reads what `Quarantine.write` wrote."""
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]
