"""What the checks of stores and runs share: groups of recorded files, and leftovers."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmcl_jax.errors import UserError
from mmcl_jax.files import CHECKSUMS, Recorded, leads_out, read_records
from mmcl_jax.integrity.result import Fault, Group
from mmcl_jax.lock import is_held

_YOUNG = 300  # seconds
HERE = "put a copy of the file back"


def recorded_group(name: str, directory: Path, records: Mapping[str, Recorded], *, root: Path | None = None) -> Group:
    """Compare files with their records; `root` is the folder out of which no link may lead."""
    root = directory if root is None else root
    with ThreadPoolExecutor(max_workers=4) as threads:
        reasons = threads.map(lambda item: item[1].fault(directory / item[0], root=root), records.items())
        named = zip(records, reasons, strict=True)
        faults = [Fault(str((directory / file).relative_to(root)), reason) for file, reason in named if reason]
    return Group(name=name, compared=len(records), faults=tuple(faults))


def records_of(path: Path) -> tuple[dict[str, Recorded] | None, Group]:
    """Return the records of a file of checksums, and a group with its fault; None if it is missing or damaged."""
    if leads_out(path, path.parent):
        return None, fault_group(path, f"{path} is a link that leads out of {path.parent}")
    try:
        return read_records(path, HERE), Group(name=path.name, compared=1)
    except UserError as error:
        return None, fault_group(path, str(error).removesuffix(f"; {HERE}."))


def fault_group(path: Path, reason: str) -> Group:
    """Return the group of one damaged file."""
    return Group(name=path.name, faults=(Fault(path.name, reason),))


def leftovers(directory: Path, patterns: Iterable[str], locks: Iterable[str]) -> tuple[Path, ...]:
    """Return files and folders of the patterns that are some minutes old, and locks that no live process holds.

    A younger file may be written at this moment, by a process that takes no lock.
    """
    since = time.time() - _YOUNG
    found = {path for pattern in patterns for path in directory.glob(pattern) if path.lstat().st_mtime < since}
    found |= {directory / name for name in locks if (directory / name).is_file() and not is_held(directory / name)}
    return tuple(sorted(found))


def folder_groups(directory: Path) -> tuple[Group, ...]:
    """Compare the files of an export, or of a kept head."""
    records, broken = records_of(directory / CHECKSUMS)
    return (broken if records is None else recorded_group("files", directory, records),)
