"""Comparing the large files of a store with their checksums while a training reads them."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError

_SHARE = 0.05  # of the time of one processor core
_CHUNK = 2**20  # bytes; while Python hashes so many, other threads run


class Comparison:
    """A thread that reads every large file once, at a twentieth of the speed of a core and with the lowest priority.

    Small files were compared when they were opened. Of several processes, the first compares.

    Args:
      store: the store.
      names: entries that the training reads.
      streamed: whether images, volumes and vectors are read from the shards.
      runs: whether this process compares.
    """

    def __init__(self, store: Store, names: Collection[str], *, streamed: bool, runs: bool) -> None:
        self._files = store.layout.large_files(names, streamed=streamed) if runs else []
        self._store, self._fault, self._stopped = store, "", threading.Event()
        self._thread = threading.Thread(target=self._run, name="comparison", daemon=True)
        if self._files:
            self._thread.start()

    def check(self) -> None:
        """Raise what the thread has found so far.

        Raises:
          UserError: the content of a file is not as recorded.
        """
        if self._fault:
            raise UserError(
                f"{self._fault} since the store was made, and the training has read it; no further checkpoint is "
                f"saved. Let mmcl check --repair {self._store.directory} make the file again; the same command then "
                f"continues from the last checkpoint, or train anew in another --workdir."
            )

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # in Linux, a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        for path, recorded in self._files:
            try:
                if self._digest(path) not in (recorded.sha256, ""):
                    self._fault = f"The content of {path} has changed"
            except OSError as error:
                self._fault = f"{path} can no longer be read ({error.strerror}); it has changed"
            if self._fault or self._stopped.is_set():
                return

    def _digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, which is read slowly; "" if `close` was called meanwhile."""
        digest: Any = hashlib.sha256()
        with path.open("rb") as file:
            began = time.monotonic()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                if self._stopped.wait((time.monotonic() - began) * (1 / _SHARE - 1)):
                    return ""
                began = time.monotonic()
        return str(digest.hexdigest())
