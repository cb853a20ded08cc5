"""Files of a store that are compared with their checksums before they are read."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from mmcl_jax.errors import check
from mmcl_jax.files import Recorded, read_records, reading, sha256

T = TypeVar("T")
ANEW = "let mmcl check --repair try to make it again, put a copy of the file back, or prepare the store again"


class Checked:
    """The files of a folder, with checksums from the file `sums` in it."""

    def __init__(self, directory: Path, sums: str) -> None:
        """Read the checksums.

        Raises:
          UserError: the file is missing or damaged.
        """
        self.directory = directory
        self._records = read_records(directory / sums, ANEW)

    @property
    def names(self) -> Collection[str]:
        """The names of the files that have a checksum."""
        return self._records.keys()

    def __getitem__(self, name: str) -> Recorded:
        """Return the record of a file."""
        return self._records[name]

    def check(self, names: Iterable[str], *, contents: bool = True) -> None:
        """Raise `UserError` if one of these files is missing, or does not have its size or, with `contents`, checksum.

        A file that is, or lies in, a link that leads out of the folder is refused, too.
        """
        for name in names:
            check(name in self._records, f"{self.directory / name} has no checksum; {ANEW}.")
            path, recorded = self.directory / name, self._records[name]
            fault = recorded.fault(path, root=self.directory, contents=False)
            check(fault is None, f"{fault}; {ANEW}.")
            same = not contents or recorded.sha256 == sha256(path)
            check(same, f"{path} is damaged (its checksum differs from the recorded one); {ANEW}.")

    def check_all(self, without: Collection[str] = ()) -> None:
        """Raise `UserError` if a file with a checksum, except `without`, is missing or damaged."""
        self.check(name for name in self._records if name not in without)

    def read(self, name: str, parse: Callable[[Path], T]) -> T:
        """Return `parse(path)` of the file `name` after its checksum was compared.

        Raises:
          UserError: the file is missing or damaged.
        """
        self.check([name])
        with reading(self.directory / name, ANEW):
            return parse(self.directory / name)
