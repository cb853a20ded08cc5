"""A lease on a folder in a bucket: one training at a time works there.

Object stores have no locks. The object `lock.json` names the holder (host, process, when the process began, and a token
that no other holder has) and counts its heartbeats. It is made on the condition that it does not exist, which the store
decides. A holder that is dead on this host, or that has missed several heartbeats elsewhere, loses the lease: the
object is removed and made anew, and who finds its own token in it after a pause holds it. A holder reads the object
back with every heartbeat; when it finds another's token there, or can reach the bucket no longer, it stops to publish.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from mmcl_jax.border import parse, to_json, typed
from mmcl_jax.bucket.mirror import LOCK
from mmcl_jax.bucket.objects import Objects
from mmcl_jax.errors import UserError
from mmcl_jax.lock import started

BEAT = 10.0  # seconds between two heartbeats
DEAD = 6  # a holder on another host is dead when it has missed so many
_SETTLE = 1.0  # seconds after which the winner of several is certain


class Lease:
    """A lease, held within a `with` block.

    Attributes:
      lost: set when another process has taken the lease, because this one seemed dead.
    """

    def __init__(self, objects: Objects, *, what: str, log: Callable[[str], None] = print) -> None:
        """Take the folder, and what the block does, such as "trains in s3://b/runs/a", for messages to others."""
        self._objects, self._what, self._log = objects, what, log
        self._token, self._beat = os.urandom(8).hex(), 0
        self.lost = threading.Event()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
          UserError: another process holds it; the sentence names its host and process.
        """
        while not self._objects.create(LOCK, self._note()):
            self._wait_until_dead()
            self._objects.remove([LOCK])
            if self._objects.create(LOCK, self._note()):
                time.sleep(_SETTLE)
                if self._holder().get("token") == self._token:
                    break
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._thread.join()
        if not self.lost.is_set() and self._holder().get("token") == self._token:
            self._objects.remove([LOCK])

    def is_held(self) -> bool:
        """Ask the bucket whether the lease is still this process's, which sets `lost` if it is not.

        Raises:
          UserError: the bucket does not answer.
        """
        holder = self._holder()
        if holder and holder.get("token") != self._token:
            self.lost.set()
        return not self.lost.is_set()

    def _wait_until_dead(self) -> None:
        """Return when the holder is dead; raise `UserError` when it is seen to be alive."""
        first = self._holder()
        if not first or _is_dead_here(first):
            return
        if first.get("host") != socket.gethostname():
            self._log(f"waiting up to {DEAD * BEAT:.0f} s for a heartbeat of {_named(first)}, which {self._what}")
            until = time.monotonic() + DEAD * BEAT
            while time.monotonic() < until and (holder := self._holder()) == first:
                time.sleep(BEAT / 4)
            if holder == first or not holder:
                return
        raise UserError(f"{_named(first)} {self._what}; wait until it ends, or stop it.")

    def _renew(self) -> None:
        while not self._released.wait(BEAT):
            try:
                if not self.is_held():
                    return
                self._beat += 1
                self._objects.write(LOCK, self._note())
            except UserError as error:  # what is published next will fail, too, if the bucket is gone for good
                self._log(f"the lease could not be renewed: {error}")

    def _holder(self) -> dict[str, Any]:
        try:
            return typed(dict[str, Any], parse(self._objects.read(LOCK) or b"{}"), LOCK)
        except (ValueError, UserError):
            return {}

    def _note(self) -> bytes:
        pid = os.getpid()
        note = {"host": socket.gethostname(), "pid": pid, "started": started(pid), "token": self._token}
        return (to_json(note | {"beat": self._beat}) + "\n").encode()


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this host that has ended."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        return started(int(holder["pid"])) != holder.get("started")
    except (KeyError, TypeError, ValueError):
        return True


def _named(holder: dict[str, Any]) -> str:
    return f"Process {holder.get('pid')} on {holder.get('host')}"
