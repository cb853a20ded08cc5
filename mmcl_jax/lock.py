"""A lock file that lets one process at a time use a folder, names its holder, and is free when the holder is dead."""

import contextlib
import errno
import fcntl
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from mmcl_jax.border import parse, to_json, typed
from mmcl_jax.errors import UserError
from mmcl_jax.text import visible

BEAT = 5.0  # seconds between the holder's heartbeats, which processes on other hosts read
_BEATS = 3  # a holder on another host is dead when it has missed so many heartbeats
_POLL = 0.2  # seconds between two looks at the file
ANSWER = 30.0  # seconds in which a file system must answer to `flock`; network disks may hang for ever


@contextlib.contextmanager
def locked(path: Path, *, what: str, wait: bool = False, log: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock file `path` within the block; it is removed at the end.

    The kernel's lock (`flock`) decides, if the file system has one. Some have none, or one that other hosts do not see.
    So the file also names the holder, which renews it every `BEAT` seconds. A holder on this host is dead when its
    process is, a holder on another host when it no longer renews the file.

    Args:
      path: the lock file; its folder is made.
      what: the work of the block, for the message to a second process, such as "trains in runs/a".
      wait: whether to wait until the holder leaves, instead of raising.
      log: prints one line if it has to wait.

    Raises:
      UserError: another process holds the lock and `wait` is false; the sentence names its host and process. Or the
        file system does not answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    logged = False
    while (file := _take(path)) is None:
        holder = _describe(_holder(path))
        if not wait:
            raise UserError(f"{holder} {what}; wait until it ends, or stop it.")
        if not logged:
            log(f"waiting: {holder} {what}")
            logged = True
        time.sleep(_POLL)
    released = threading.Event()
    beats = threading.Thread(target=_beat, args=(file, released), daemon=True)
    beats.start()
    try:
        yield
    finally:
        released.set()
        beats.join()
        path.unlink(missing_ok=True)  # before the file is closed: nobody else can hold it yet
        file.close()


def is_held(path: Path) -> bool:
    """Return at once whether a live process seems to hold a lock file, without taking it.

    A holder on another host counts as alive while the file was renewed in the last minute, by the clock of this host.
    """
    holder = _holder(path)
    if not holder:
        return False
    if holder.get("host") == socket.gethostname():
        return started(holder["pid"]) == holder.get("started")
    try:
        return abs(time.time() - path.stat().st_mtime) < 12 * BEAT
    except OSError:
        return False


def _take(path: Path) -> TextIO | None:
    """Take the lock and return the open file; return None if another process holds it."""
    file, kernel = path.open("a+"), True
    try:
        _flock(path, file)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.close()
            return None
        kernel = False  # this file system has no such lock: the content of the file decides
    if not _is_still(path, file) or _alive(path):
        file.close()
        return None
    _write(file, 0)
    if not kernel:  # another process may have written the file at the same moment; the later writer holds the lock
        time.sleep(_POLL)
    if not _is_still(path, file) or _holder(path).get("pid") != os.getpid():
        file.close()
        return None
    return file


def _flock(path: Path, file: TextIO) -> None:
    """Take the kernel's lock in a thread, since a network disk may never answer.

    Raises:
      OSError: another process holds it, or the file system has no such lock.
      UserError: the file system does not answer.
    """
    answer, late = queue.SimpleQueue[OSError | None](), threading.Event()

    def take() -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            answer.put(None)
        except OSError as error:
            answer.put(error)
        if late.is_set():
            file.close()

    threading.Thread(target=take, daemon=True, name="flock").start()
    try:
        error = answer.get(timeout=ANSWER)
    except queue.Empty:
        late.set()
        raise UserError(
            f"{path}: its file system has not locked the file in {ANSWER:.0f} s; mount it with locks (of NFS, start "
            "its lock service, or mount with -o nolock), or choose a folder on another disk."
        ) from None
    if error is not None:
        raise error


def _is_still(path: Path, file: TextIO) -> bool:
    """Return whether the open file is still the file at `path`, which a holder removes when it leaves."""
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
        return started(holder["pid"]) == holder.get("started")
    until = time.monotonic() + _BEATS * BEAT
    while time.monotonic() < until:
        time.sleep(_POLL)
        current = _holder(path)  # {} while the holder writes it
        if current and current != holder:
            return True
    return False


def started(pid: int) -> str:
    """Return the start time of a process of this host, which identifies it beside its number; "" if it has ended.

    A zombie has ended, and no process has a number that is not positive or has more than 31 bits.
    """
    if not 0 < pid < 2**31:
        return ""
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
    note = {"host": socket.gethostname(), "pid": pid, "started": started(pid), "beat": beat}
    file.seek(0)
    file.truncate()
    file.write(to_json(note) + "\n")
    file.flush()


def _beat(file: TextIO, released: threading.Event) -> None:
    beat = 0
    while not released.wait(BEAT):
        beat += 1
        with contextlib.suppress(OSError):  # such as a full disk: the kernel's lock still holds
            _write(file, beat)


def _holder(path: Path) -> dict[str, Any]:
    """Return the content of the lock file, which names the holder; {} if it cannot be read."""
    try:
        note = typed(dict[str, Any], parse(path.read_bytes()), str(path))
        return {**note, "pid": typed(int, note.get("pid"), str(path))}
    except (OSError, ValueError, UserError):
        return {}


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "Another process"
    return f"Process {holder['pid']} on {visible(holder.get('host'))}"
