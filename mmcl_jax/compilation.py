"""Compiled programs: the folder that keeps them from one command to the next, and their count.

A cached program is code that runs, so the folder is private: `$XDG_CACHE_HOME/mmcl_jax/programs`, mode 0700. A cache
that JAX is told of, by JAX_COMPILATION_CACHE_DIR or `jax_compilation_cache_dir`, is used in its place, as it is. A
command never fails because of its cache: a fault costs the time of compiling, and is told in one sentence.

CPU programs with several collectives are not taken from a cache, see `compile_collectives_anew`.
"""

import contextlib
import dataclasses
import functools
import os
import re
import stat
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import jax
from jax._src import compilation_cache

from mmcl_jax.text import visible

LIMIT = 4 * 2**30  # bytes; the oldest programs are removed above it
_WORTH_KEEPING = 0.3  # seconds of compiling; a command has hundreds of programs that take less
_ENTRY, _LAST_USE = "-cache", "-atime"  # what JAX's names of files end with
_FAULT = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.*?)': (.*)", re.DOTALL)
_OTHERS, _OTHERS_WRITE = stat.S_IRWXG | stat.S_IRWXO, stat.S_IWGRP | stat.S_IWOTH
_COLLECTIVE = re.compile(r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(-start)?\(")
_told: set[str] = set()


@dataclasses.dataclass
class Programs:
    """The programs of this process that took long to compile, or were found compiled.

    Attributes:
      compiled: the number of programs that took at least 0.3 s to compile.
      cached: the number of programs that were found in the cache.
      seconds: the time in which all programs were compiled, or read from the cache.
    """

    compiled: int = 0
    cached: int = 0
    seconds: float = 0.0

    def since(self, before: "Programs") -> "Programs":
        """Return what was added after `before`, a copy of an earlier count."""
        return Programs(self.compiled - before.compiled, self.cached - before.cached, self.seconds - before.seconds)

    def describe(self) -> str:
        """Return a sentence on the programs.

        Example:
          >>> Programs(compiled=3, cached=5, seconds=41.2).describe()
          'compiled 3 programs in 41 s, 5 from the cache'
        """
        programs = f"{self.compiled} program{'s' * (self.compiled != 1)}"
        return f"compiled {programs} in {self.seconds:.0f} s, {self.cached} from the cache"


PROGRAMS = Programs()
_before = Programs()


def news() -> str | None:
    """Return a sentence on the programs since the last call; None if they took less than a second."""
    global _before
    new, _before = PROGRAMS.since(_before), dataclasses.replace(PROGRAMS)
    return new.describe() if new.seconds >= 1 else None


def use_cache(folder: Path | None = None) -> None:
    """Keep compiled programs in a folder, by default that of the user, and count them in `PROGRAMS`.

    The cache that JAX uses already, or JAX_ENABLE_COMPILATION_CACHE=false, is left as it is. A folder that cannot be
    made, or is not the user's own, is not used; a sentence on standard error says why.
    """
    _listen()
    if not jax.config.values["jax_enable_compilation_cache"]:
        return
    if _folder() is None:
        try:
            folder = _default() if folder is None else folder
            _make_private(folder)
            _shrink(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            _tell(f"Compiled programs are not kept: {error.filename} cannot be used ({reason.lower()}).")
            return
        except _RefusedError as error:
            _tell(f"Compiled programs are not kept: {error}.")
            return
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)
    if jax.config.values["jax_compilation_cache_max_size"] >= 0:
        with contextlib.suppress(OSError):
            _remove_orphans(Path(_folder() or ""))


def compile_collectives_anew() -> None:
    """Take no CPU program with several collectives from a cache, from now on; each process compiles such programs.

    XLA writes a program for CPUs without the order of its collectives (seen with jaxlib 0.10.2). In a program that was
    read, two collectives that do not depend on one another may begin in another order on each device. Each device then
    waits for the others, and after 40 seconds XLA aborts the process. What compiles a program keeps the order.
    """
    read = compilation_cache.get_executable_and_time
    if read.__module__ == __name__:
        return

    @functools.wraps(read)
    def read_unless_unordered(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        return (None, None) if found[0] is not None and _may_change_order(found[0]) else found

    read_unless_unordered.__module__ = __name__
    compilation_cache.get_executable_and_time = read_unless_unordered


def _may_change_order(program: Any) -> bool:
    """Return whether a loaded program runs on CPUs and has more than one collective."""
    if program.local_devices()[0].platform != "cpu":
        return False
    return sum(len(_COLLECTIVE.findall(module.to_string())) for module in program.hlo_modules()) > 1


def _folder() -> str | None:
    """Return the folder in which JAX keeps compiled programs."""
    return jax.config.values["jax_compilation_cache_dir"]


class _RefusedError(Exception):
    """No folder, or a folder that others may have written into."""


def _default() -> Path:
    """Return the folder of the user's compiled programs.

    Raises:
      _RefusedError: the user has no home directory.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # which is invalid, by its standard
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:  # in a container, a user may have none
            raise _RefusedError("this user has no home directory; set XDG_CACHE_HOME") from error
    return base / "mmcl_jax" / "programs"


def _make_private(folder: Path) -> None:
    """Make the folder and the folder above it for this user alone, or check that they are.

    Raises:
      OSError: a folder cannot be made.
      _RefusedError: a folder is another user's, a link, or open to others, or others may write into a folder above.
    """
    base = folder.parent.parent
    base.mkdir(parents=True, exist_ok=True)
    for above in (base.resolve(), *base.resolve().parents):  # who may write there may put another folder in place
        status = above.stat()
        if status.st_uid not in (0, os.getuid()):
            raise _RefusedError(f"{above} belongs to another user; set XDG_CACHE_HOME to a folder of your own")
        if status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
            raise _RefusedError(f"other users may write into {above}; set XDG_CACHE_HOME to a folder of your own")
    for path in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise _RefusedError(f"{path} is a link or a file; remove it")
        if status.st_uid != os.getuid():
            raise _RefusedError(f"{path} belongs to another user; set XDG_CACHE_HOME to a folder of your own")
        if status.st_mode & (_OTHERS if path == folder else _OTHERS_WRITE):
            raise _RefusedError(f"other users may enter {path}; remove it, or take their rights with chmod 700")


def _shrink(folder: Path) -> None:
    """Remove the oldest programs of a folder of more than `LIMIT` bytes, and those that a full disk cut to nothing."""
    entries = []
    for path in folder.glob(f"*{_ENTRY}"):
        with contextlib.suppress(FileNotFoundError):  # another process removes old programs, too
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    size, entries = sum(size for _, size, _ in entries), sorted(entries)
    for _, own, path in entries:
        if size > LIMIT or not own:
            path.unlink(missing_ok=True)
            size -= own


def _remove_orphans(folder: Path) -> None:
    """Remove programs without a time of last use: with a limit of its own, JAX writes nothing beside them."""
    for path in folder.glob(f"*{_ENTRY}"):
        if not path.with_name(path.name.removesuffix(_ENTRY) + _LAST_USE).is_file():
            path.unlink(missing_ok=True)


def _listen() -> None:
    """Count programs, and take JAX's warnings about its cache."""
    _take_warnings()
    if "listening" in _told:
        return
    _told.add("listening")
    found = threading.local()  # whether the program that this thread is about to get was in the cache
    lock = threading.Lock()

    def noted(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            found.cached = True

    def timed(event: str, duration_secs: float, **_: Any) -> None:
        if event != "/jax/core/compile/backend_compile_duration":
            return
        cached, found.cached = getattr(found, "cached", False), False
        with lock:
            PROGRAMS.seconds += duration_secs
            PROGRAMS.cached += cached
            PROGRAMS.compiled += not cached and duration_secs >= _WORTH_KEEPING

    jax.monitoring.register_event_listener(noted)
    jax.monitoring.register_event_duration_secs_listener(timed)


def _take_warnings() -> None:
    """Mend what JAX warns about; again in each call, since `warnings.catch_warnings` undoes it at its end."""
    warnings.filterwarnings("always", message="Error (reading|writing) persistent compilation cache entry")
    show = warnings.showwarning
    if getattr(show, "__module__", "") == __name__:
        return

    def showwarning(message: Warning | str, *arguments: Any, **options: Any) -> None:
        fault = _FAULT.fullmatch(str(message))
        if fault is None:
            show(message, *arguments, **options)
        else:
            _mend(*fault.groups())

    warnings.showwarning = showwarning


def _mend(doing: str, program: str, reason: str) -> None:
    """Remove the entries of a program that could not be read or written, and tell the first of such faults.

    JAX never writes over an entry: a file that a kill or a full disk cut short would be refused for ever.
    """
    folder = Path(_folder() or "")
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{program}-*{_ENTRY}"):
            path.unlink(missing_ok=True)
    first = next(iter(reason.splitlines()), "")
    if doing == "reading":
        _tell(f"The cache of compiled programs {folder} has programs that cannot be used, and are compiled: {first}")
    else:
        _tell(f"The cache of compiled programs {folder} cannot keep new programs: {first}")


def _tell(sentence: str) -> None:
    """Print a sentence on standard error unless a sentence of its kind was printed."""
    kind = sentence.partition(":")[0]
    if kind not in _told:
        _told.add(kind)
        print(visible(sentence), file=sys.stderr, flush=True)
