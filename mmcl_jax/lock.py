"""One process at a time in a folder: a lock that says who holds it, and is free when that process is dead."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from mmcl_jax.errors import UserError

BEAT = 5.0  # seconds between the holder's signs of life, for processes on other hosts
_BEATS = 3  # without one for so many times this long, a holder on another host is dead
_POLL = 0.2


@contextlib.contextmanager
def locked(path: Path, *, what: str, wait: bool = False, log: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock file `path` within the block; it is removed at the end.

    The kernel's lock (`flock`) decides where there is one. The file also names the holder, who renews it every `BEAT`
    seconds, so file systems without that lock, or where it ends at the host, are served too: a holder on this host is
    dead when its process is, one on another host when it is silent.

    Args:
      path: of the lock file; its folder is made.
      what: is done in the block, for the sentence of the process that comes second: "trains in runs/a".
      wait: for the holder to leave, instead of raising.
      log: prints a line, once, when there is something to wait for.

    Raises:
      UserError: another process holds it (and `wait` is false); the sentence names its host and process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = False
    while (file := _take(path)) is None:
        holder = _describe(_holder(path))
        if not wait:
            raise UserError(f"{holder} {what}; wait until it ends, or stop it.")
        if not said:
            log(f"waiting: {holder} {what}")
            said = True
        time.sleep(_POLL)
    over = threading.Event()
    beats = threading.Thread(target=_beat, args=(file, over), daemon=True)
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join()
        path.unlink(missing_ok=True)  # before the file is closed: nobody else can hold it yet
        file.close()


def _take(path: Path) -> TextIO | None:
    """Return the open file if this process holds the lock now, else None."""
    file, kernel = path.open("a+"), True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.close()
            return None
        kernel = False  # no such lock on this file system: the note alone decides
    if not _is_still(path, file) or _alive(path):
        file.close()
        return None
    _write(file, 0)
    if not kernel:  # another process may have written its own at the same moment; the later one stands
        time.sleep(_POLL)
    if not _is_still(path, file) or _holder(path).get("pid") != os.getpid():
        file.close()
        return None
    return file


def _is_still(path: Path, file: TextIO) -> bool:
    """Return whether the open file is the one at `path`: a holder that left has removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _alive(path: Path) -> bool:
    """Return whether the process that the lock file names is alive."""
    holder = _holder(path)
    if not holder:
        return False
    if holder.get("host") == socket.gethostname():
        return _started(int(holder["pid"])) == holder.get("started")
    until = time.monotonic() + _BEATS * BEAT
    while time.monotonic() < until:
        time.sleep(_POLL)
        now = _holder(path)  # {} while it is written
        if now and now != holder:
            return True
    return False


def _started(pid: int) -> str:
    """Return when a process of this host began, which tells it from another of the same number; "" if it is gone.

    A zombie, which has ended and whose parent has not asked how, is none.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]
    except (OSError, IndexError, ValueError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "" if Path("/proc/self/stat").exists() else "unknown"


def _write(file: TextIO, beat: int) -> None:
    pid = os.getpid()
    note = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "beat": beat}
    file.seek(0)
    file.truncate()
    file.write(json.dumps(note) + "\n")
    file.flush()


def _beat(file: TextIO, over: threading.Event) -> None:
    beat = 0
    while not over.wait(BEAT):
        beat += 1
        with contextlib.suppress(OSError):  # of a full disk: the kernel's lock holds
            _write(file, beat)


def _holder(path: Path) -> dict[str, Any]:
    """Return the holder that the lock file names, {} if it names none."""
    try:
        note = json.loads(path.read_text())
        return {**note, "pid": int(note["pid"])}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "Another process"
    return f"Process {holder['pid']} on {holder.get('host')}"
