"""The checksums of a store's mapped arrays, in `flat/checksums.json`.

They are not in the store's manifest, since `flat` may be deleted and made again, with rows in another order. Stores of
earlier versions have none, and their arrays are not compared.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from mmcl_jax.errors import check
from mmcl_jax.files import CHECKSUMS, Recorded, read_records, record, sha256, write_checksums, write_records

LARGE = 2**26  # bytes from which an array is compared by `mmcl check` and while a training runs, not when it is opened
REMEDY = (
    "let mmcl check --repair make it again from the shards, or remove the folder flat of the store, which the next "
    "command then makes again"
)

T = TypeVar("T")
_known: dict[tuple[str, Path], tuple[tuple[int, ...], Any]] = {}  # what this process has read of a version of a file


def files_of(folder: Path) -> list[Path]:
    """Return the arrays in the folder `flat`."""
    return sorted(folder.glob("*.npy"))


def records(folder: Path) -> dict[str, Recorded]:
    """Return the records by file name; {} for a store of an earlier version.

    Raises:
      UserError: the file of the checksums is damaged.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        check(not path.exists() and not path.is_symlink(), f"{path} is not a file; {REMEDY}.")
        return {}
    return _once(path, _read)


def _read(path: Path) -> dict[str, Recorded]:
    return read_records(path, REMEDY)


def write(folder: Path) -> None:
    """Record all arrays of the folder."""
    write_checksums(folder, files_of(folder))


def replace(folder: Path, old: Mapping[str, Recorded], names: Iterable[str]) -> None:
    """Record the files `names` anew, and all others as in `old`."""
    new = {name: record(folder / name) for name in names if (folder / name).is_file()}
    write_records(folder / CHECKSUMS, dict(sorted({**old, **new}.items())))


def compare(path: Path) -> None:
    """Compare a mapped array with its record, by size and, unless it is large, by content.

    Raises:
      UserError: the array is damaged.
    """
    recorded = records(path.parent).get(path.name)
    expected = recorded or Recorded(None, "")  # stores of earlier versions have no records
    fault = expected.fault(path, root=path.parent.parent, contents=False)
    if recorded is not None and fault is None and path.stat().st_size <= LARGE:
        fault = None if _once(path, sha256) == recorded.sha256 else f"the content of {path} has changed"
    check(fault is None, f"{fault}; {REMEDY}.")


def _once(path: Path, read: Callable[[Path], T]) -> T:
    """Return `read(path)`; a file that this process has read before, and that is as old as then, is not read again."""
    status, key = os.stat(path), (read.__name__, path)
    version = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if _known.get(key, (None,))[0] != version:
        _known[key] = version, read(path)
    return cast(T, _known[key][1])
