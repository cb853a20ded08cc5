"""A work directory in a bucket: the training works in a copy on this machine, which is published as it goes."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.lease import Lease
from mmcl_jax.bucket.mirror import Mirror, checkpoints
from mmcl_jax.errors import UserError, check

INTERVAL = 10.0  # seconds between two publications; a machine that is lost loses at most so much


@contextlib.contextmanager
def workdir(address: Address, *, holds: bool, kind: str = "work", log: Callable[[str], None] = print) -> Iterator[Path]:
    """Yield the copy of a work directory; what is written there is published every few seconds, and at the end.

    Everything that was published before counts: the copy is made equal to the bucket first. Metrics are published
    before the checkpoint that they lead to, and a checkpoint when it is complete.

    Args:
      address: of the run, or of the run to make.
      holds: whether this process has the lease and publishes: the first process of a training.
      kind: of the copy; processes that do not share it have copies of several kinds.
      log: prints a line.

    Raises:
      UserError: another process trains there; the bucket cannot be used; or the last state could not be published.
    """
    mirror = Mirror(address, kind=kind)
    if not holds:
        yield mirror.fetch(checkpoints)
        return
    mirror.objects.list()  # that the bucket does not exist is said before anything is written
    with Lease(mirror.objects, what=f"trains in {address}", log=log) as lease:
        path = mirror.fetch(checkpoints)
        path.parent.mkdir(parents=True, exist_ok=True)
        publisher = _Publisher(mirror, lease, log)
        try:
            yield path
        finally:
            publisher.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGTERM within the block: it would end the process, which is about to end anyway."""
    before = None
    if threading.current_thread() is threading.main_thread():  # only which may
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _Publisher:
    """A thread that publishes a copy again and again; `close` publishes it for the last time."""

    def __init__(self, mirror: Mirror, lease: Lease, log: Callable[[str], None]) -> None:
        self._mirror, self._lease, self._log = mirror, lease, log
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="publish")
        self._thread.start()

    def _work(self) -> None:
        failing = False
        while not self._ended.wait(INTERVAL):
            try:
                self._publish()
                failing = False
            except UserError as error:  # the training goes on; the end, or a later moment, may succeed
                if not failing:
                    self._log(f"not published yet: {error}")
                failing = True
            if self._lease.lost.is_set():
                os.kill(os.getpid(), signal.SIGTERM)  # the training saves and ends, and `close` says why
                return

    def _publish(self) -> None:
        if not self._lease.lost.is_set() and self._lease.is_held():
            self._mirror.publish()

    def close(self) -> None:
        """Publish the last state.

        Raises:
          UserError: it could not be published; the copy has it.
        """
        self._ended.set()
        self._thread.join()
        address = self._mirror.address
        try:
            with _undisturbed():
                self._publish()
        except UserError as error:
            raise UserError(f"{error} {address} lacks the end of this session; the same command repeats it.") from error
        check(
            not self._lease.lost.is_set(),
            f"Another process took {address} over, because this one could not be seen there for a minute; this session "
            "ended, and what it had not published is lost.",
        )
