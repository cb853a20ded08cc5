"""The files of a store while a command reads them: a change is noticed before the next save, or before results."""

import os
from pathlib import Path

from mmcl_jax.errors import check

Stamp = tuple[int, int, int]  # inode, bytes and time of the last change


class Unchanged:
    """A watch over the files of a store, from now on. Their contents are not read."""

    def __init__(self, directory: Path) -> None:
        """Take the folder of the store, whose arrays are in `flat` by now."""
        self._directory = directory
        self._stamps = _stamps(directory)

    def check(self, consequence: str) -> None:
        """Check that no file of the store has changed; `consequence` says what a change leads to, and what to do.

        Raises:
          UserError: a file was changed, replaced or removed.
        """
        now = _stamps(self._directory)
        changed = sorted(path for path, stamp in self._stamps.items() if now.get(path) != stamp)
        check(
            not changed,
            f"{next(iter(changed), '')} has changed while it was read, so {consequence}.",
        )


def _stamps(directory: Path) -> dict[str, Stamp]:
    stamps, folders = {}, [str(directory)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat()
                    if entry.is_dir():
                        folders.append(entry.path)
                    else:
                        stamps[entry.path] = status.st_ino, status.st_size, status.st_mtime_ns
        except FileNotFoundError:  # removed at this moment
            continue
    # Another process may make arrays again, in `flat.partial`, that this process does not read.
    mine = (path for path in stamps if not path.endswith(".lock") and ".partial" not in path[len(str(directory)) :])
    return {path: stamps[path] for path in mine}
