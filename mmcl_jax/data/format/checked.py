"""Files of a store, each compared with its checksum before it is read."""

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from mmcl_jax.errors import check
from mmcl_jax.files import reading, sha256

T = TypeVar("T")
ANEW = "put a copy of the file back, or prepare the store again"


class Checked:
    """The files of a folder, and a file in it that holds their checksums."""

    def __init__(self, directory: Path, sums: str) -> None:
        """Read the checksums.

        Raises:
          UserError: the file is missing or damaged.
        """
        self._directory = directory
        with reading(directory / sums, ANEW):
            raw = json.loads((directory / sums).read_text())
            # In store format 2, the checksum stands there without the size.
            self._sums = {name: one if isinstance(one, str) else str(one["sha256"]) for name, one in raw.items()}

    def check(self, names: Iterable[str]) -> None:
        """Raise `UserError` unless these files are what was written."""
        for name in names:
            path = self._directory / name
            check(path.is_file(), f"{path} is missing; {ANEW}.")
            check(
                self._sums.get(name) == sha256(path),
                f"{path} is damaged (its checksum is not that of what was written); {ANEW}.",
            )

    def check_all(self, without: Collection[str] = ()) -> None:
        """Raise `UserError` unless all files that have a checksum are what was written, but for some."""
        self.check(name for name in self._sums if name not in without)

    def read(self, name: str, how: Callable[[Path], T]) -> T:
        """Return what `how` reads of a file that is what was written.

        Raises:
          UserError: it is missing or damaged.
        """
        self.check([name])
        with reading(self._directory / name, ANEW):
            return how(self._directory / name)
