"""The checksums of a store's mapped arrays, in `flat/checksums.json`.

They are not in the store's manifest, since `flat` may be deleted and made again, with rows in another order. Stores of
earlier versions have none, and their arrays are not compared.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmcl_jax.errors import check
from mmcl_jax.files import CHECKSUMS, Recorded, read_records, record, sha256, write_checksums, write_records

LARGE = 2**26  # bytes from which an array is compared by `mmcl check` and while a training runs, not when it is opened
REMEDY = (
    "let mmcl check --repair make it again from the shards, or remove the folder flat of the store, which the next "
    "command then makes again"
)

_Version = tuple[int, ...]
_compared: dict[Path, tuple[_Version, str]] = {}  # the checksum of files that this process has read, by their version


def files_of(folder: Path) -> list[Path]:
    """Return the arrays in the folder `flat`."""
    return sorted(folder.glob("*.npy"))


def records(folder: Path) -> dict[str, Recorded]:
    """Return the records by file name; {} for a store of an earlier version.

    Raises:
      UserError: the file of the checksums is damaged.
    """
    path = folder / CHECKSUMS
    return read_records(path, REMEDY) if path.exists() or path.is_symlink() else {}


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
    root = path.parent.parent
    if recorded is None:  # of an earlier version
        recorded = Recorded(None, "")
        fault = recorded.fault(path, root=root, contents=False)
    else:
        fault = recorded.fault(path, root=root, contents=False)
        if fault is None and recorded.bytes is not None and recorded.bytes <= LARGE:
            fault = None if _checksum(path) == recorded.sha256 else f"the content of {path} has changed"
    check(fault is None, f"{fault}; {REMEDY}.")


def _checksum(path: Path) -> str:
    """Return the checksum of a file; a file that this process has read before and that is as new is not read again."""
    status = os.stat(path)
    version = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known, value = _compared.get(path, (None, ""))
    if known != version:
        value = sha256(path)
        _compared[path] = version, value
    return value
