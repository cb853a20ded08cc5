"""Tables with a key column, each read once, however many entries come from it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from mmcl_jax.errors import check
from mmcl_jax.prepare.join.keys import canonical, first_rows
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.sources import VECTORS, Source
from mmcl_jax.prepare.table.table import LIMITS, Tables, require_columns
from mmcl_jax.text import brief


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed:
    """The rows of a table by their key.

    Attributes:
      file: of the table.
      frame: its columns.
      numbers: `[n]`, the number of each row in the file, from 1.
      keys: `[n]`, canonical; "" for an empty cell.
      index: the first row of every key.
      key: name of the key column.
    """

    file: Path
    frame: pl.DataFrame
    numbers: np.ndarray
    keys: list[str]
    index: dict[str, int]
    key: str

    def row(self, index: int) -> str:
        """Return the row at an index as a sentence names it: "Row 3 of pgs.tsv"."""
        return f"Row {self.numbers[index]} of {self.file}"


class Keys(Tables):
    """A reader of tables that reads each file once and checks its keys.

    Attributes:
      totals: number of records of each file that was read for its keys.
      twice: the keys that occur in several rows of a file, by file.
    """

    def __init__(self, limits: Limits = LIMITS, frames: Mapping[Path, pl.DataFrame] | None = None) -> None:
        """Start with no file read; `frames` are read in place of the files of these names."""
        super().__init__(limits)
        self._frames = frames or {}
        self.totals: dict[str, int] = {}
        self.twice: dict[str, list[str]] = {}

    def keyed(
        self,
        source: Source,
        key: str,
        where: str,
        quarantine: Quarantine,
        *,
        repeated: bool = False,
        alone: bool = False,
    ) -> Keyed:
        """Return the table of a source with its keys.

        Records that cannot be parsed and rows without a key go to the quarantine, and so do rows with the key of an
        earlier row, unless keys may be `repeated`.

        Args:
          source: names the file and, if it is not `key`, the key column.
          key: the key column of a source that does not name it.
          where: how errors name the source.
          quarantine: to which bad rows are added.
          repeated: whether several rows may have one key.
          alone: whether to read only the key column of a Parquet file.

        Raises:
          UserError: the file or the key column is missing, or no key column was named.
        """
        assert source.file is not None
        name = source.key or key
        check(name != "", f"{where}: name the key column of {source.file} with key or key_column.")
        columns = (name,) if alone else ()
        table = self.read(
            self._frames.get(source.file, source.file),
            separator=source.separator,
            encoding=source.encoding,
            columns=columns,
            matrix=source.kind in VECTORS,
        )
        require_columns(table.frame.columns, [name], source.file)
        keys = canonical(table.frame[name])
        made = Keyed(
            file=source.file, frame=table.frame, numbers=table.numbers, keys=keys, index=first_rows(keys), key=name
        )
        file = str(source.file)
        for number, reason in table.bad:
            quarantine.add(number, None, "unparsable row", reason, file=file)
        self.note(file, keys, made.index, table.numbers.tolist(), quarantine, total=len(keys) + len(table.bad),
                  repeated=repeated)  # fmt: skip
        return made

    def note(
        self,
        file: str,
        keys: list[str],
        index: dict[str, int],
        numbers: list[int],
        quarantine: Quarantine,
        *,
        total: int,
        repeated: bool = False,
    ) -> None:
        """Put the rows of a file that have no key, or the key of an earlier row, into the quarantine.

        Args:
          file: its name.
          keys: of its rows, canonical; "" for an empty cell.
          index: the first row of every key.
          numbers: of its rows, for sentences.
          quarantine: to which bad rows are added.
          total: number of its records, including unreadable ones.
          repeated: whether several rows may have one key.
        """
        self.totals[file] = total
        twice: dict[str, None] = {}
        for row, key in enumerate(keys):
            if not key:
                quarantine.add(numbers[row], None, "missing identifier", "Its key is empty.", file=file)
            elif index[key] != row and not repeated:
                twice[key] = None
                reason = f"Its key {brief(key)} is also that of row {numbers[index[key]]}."
                quarantine.add(numbers[row], None, "duplicate identifier", reason, file=file)
        self.twice[file] = list(twice)
