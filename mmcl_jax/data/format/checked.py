"""Files of a store that are compared with their checksums before they are read."""

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from mmcl_jax.errors import check
from mmcl_jax.files import reading, sha256

T = TypeVar("T")
ANEW = "put a copy of the file back, or prepare the store again"


class Checked:
    """The files of a folder, with checksums from the file `sums` in it."""

    def __init__(self, directory: Path, sums: str) -> None:
        """Read the checksums.

        Raises:
          UserError: the file is missing or damaged.
        """
        self.directory = directory
        with reading(directory / sums, ANEW):
            raw = json.loads((directory / sums).read_text())
            # Store format 2 has the checksum alone, without the size.
            self._sums = {
                name: record if isinstance(record, str) else str(record["sha256"]) for name, record in raw.items()
            }

    def check(self, names: Iterable[str]) -> None:
        """Raise `UserError` if one of these files is missing or does not have its checksum."""
        for name in names:
            path = self.directory / name
            check(path.is_file(), f"{path} is missing; {ANEW}.")
            check(
                self._sums.get(name) == sha256(path),
                f"{path} is damaged (its checksum differs from the recorded one); {ANEW}.",
            )

    def check_all(self, without: Collection[str] = ()) -> None:
        """Raise `UserError` if a file with a checksum, except `without`, is missing or damaged."""
        self.check(name for name in self._sums if name not in without)

    def read(self, name: str, parse: Callable[[Path], T]) -> T:
        """Return `parse(path)` of the file `name` after its checksum was compared.

        Raises:
          UserError: the file is missing or damaged.
        """
        self.check([name])
        with reading(self.directory / name, ANEW):
            return parse(self.directory / name)
