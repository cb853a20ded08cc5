"""Tables with a key, read once each, however many entries come from them."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.join.keys import canonical, first_rows
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import Source
from mmcl_jax.prepare.table.table import Table, read_table, require_columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed:
    """The rows of a table by their key.

    Attributes:
      file: of the table.
      frame: its columns.
      numbers: `[n]`, the place of each row in the file, from 1.
      keys: `[n]`, canonical; "" for none.
      index: the first row of every key.
      key: the key column.
    """

    file: Path
    frame: pl.DataFrame
    numbers: np.ndarray
    keys: list[str]
    index: dict[str, int]
    key: str

    def row(self, place: int) -> str:
        """What a sentence calls a row."""
        return f"Row {self.numbers[place]} of {self.file}"


class Tables:
    """Reads tables; each file once."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, str | None, str], Table] = {}
        self._noted: set[tuple[Path, str]] = set()

    def read(self, path: Path, *, separator: str | None, encoding: str) -> Table:
        """Read as `read_table` does, once."""
        what = (path, separator, encoding)
        if what not in self._read:
            self._read[what] = read_table(path, separator=separator, encoding=encoding)
        return self._read[what]

    def keyed(self, source: Source, key: str, where: str, quarantine: Quarantine, *, repeated: bool = False) -> Keyed:
        """Return the table of a source with its keys.

        Records that cannot be parsed and rows without a key go to the quarantine, and so do rows with the key of an
        earlier row, unless keys may be `repeated`.

        Args:
          source: names the file and, if it is not `key`, the key column.
          key: the key column of a source that names none.
          where: what errors call the source.
          quarantine: to add to.
          repeated: whether several rows may have one key.

        Raises:
          UserError: the file or the key column is missing, or the latter was not named.
        """
        assert source.file is not None
        table = self.read(source.file, separator=source.separator, encoding=source.encoding)
        name = source.key or key
        check(name != "", f"{where}: say which column of {source.file} is the key, with key or key_column.")
        require_columns(table.frame.columns, [name], source.file)
        keys = canonical(table.frame[name])
        made = Keyed(
            file=source.file, frame=table.frame, numbers=table.numbers, keys=keys, index=first_rows(keys), key=name
        )
        if (source.file, name) not in self._noted:
            self._noted.add((source.file, name))
            self._note(made, table, quarantine, repeated=repeated)
        return made

    @staticmethod
    def _note(made: Keyed, table: Table, quarantine: Quarantine, *, repeated: bool) -> None:
        """Put the rows without a key of their own, and the records that are none, into the quarantine."""
        file = str(made.file)
        for number, reason in table.bad:
            quarantine.add(number, None, "unparsable row", reason, file=file)
        for place, key in enumerate(made.keys):
            first = made.index.get(key, place)
            if not key:
                reason = f"Its cell in the key column {made.key!r} is empty."
                quarantine.add(int(made.numbers[place]), None, "missing identifier", reason, file=file)
            elif first != place and not repeated:
                reason = f"Its key {key!r} in column {made.key!r} is that of row {made.numbers[first]}."
                quarantine.add(int(made.numbers[place]), None, "duplicate identifier", reason, file=file)
