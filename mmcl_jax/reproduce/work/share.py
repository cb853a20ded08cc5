"""Jobs that several processes, on one host or on several with a shared disk, claim one by one and never do twice."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmcl_jax.errors import UserError
from mmcl_jax.lock import is_held, locked

_POLL = 1.0  # seconds between two looks at the jobs, while others have all that could be done


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work that leaves a file, by which all processes see that it is done.

    Attributes:
      name: of its lock file, the same in all processes.
      done: whether it is done.
      ready: whether what it needs is there.
      do: does it; returns False if a signal stopped it before its end.
    """

    name: str
    done: Callable[[], bool]
    ready: Callable[[], bool]
    do: Callable[[], bool]


def share(jobs: Sequence[Job], claims: Path, log: Callable[[str], None]) -> bool:
    """Do the jobs in their order, as far as no other process does them, and return when all are done.

    A job is claimed by a lock file in the folder `claims`, see `lock.locked`: the claim of a process that died is free,
    at once on the same host, and elsewhere when its file has not been renewed for a while.

    Returns:
      False if a signal stopped a job; the same call continues.
    """
    waiting = ""
    while missing := [job for job in jobs if not job.done()]:
        job = next((job for job in missing if job.ready() and not is_held(claims / f"{job.name}.json")), None)
        if job is None:
            names = ", ".join(job.name for job in missing if is_held(claims / f"{job.name}.json"))
            if names != waiting:
                log(f"waiting for other processes: {names}" if names else "waiting for other processes")
            waiting = names
            time.sleep(_POLL)
            continue
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(claims / f"{job.name}.json", what=f"does {job.name}"))
            except UserError:  # another process was faster
                continue
            if not job.done() and not job.do():
                return False
    return True
