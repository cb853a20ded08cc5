"""The border where addresses become paths: a command reads and writes ordinary files, wherever its arguments lie."""

import contextlib
import dataclasses
import functools
import glob
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mmcl_jax.bucket import cache
from mmcl_jax.bucket.address import Address, is_address
from mmcl_jax.bucket.mirror import Mirror, checkpoints, everything, unlisted
from mmcl_jax.bucket.objects import ChangedError
from mmcl_jax.errors import check
from mmcl_jax.targets import named

OWN = "work-"  # the beginning of the kind of a copy of a work directory that one process of several has for itself

P = ParamSpec("P")
T = TypeVar("T")


def local(given: Any, *, option: str = "", raw: bool = False) -> Path:
    """Return a path on this machine: the path itself, or that of a copy of what lies at an address, as it is now.

    Args:
      given: a path, or the address of a store, run, folder or file.
      option: what errors begin with, such as "--table: ".
      raw: whether what lies there was not written by this program.

    Raises:
      UserError: the address cannot be used.
    """
    if not is_address(given):
        return Path(given)
    mirror = Mirror(Address.parse(given, option), kind="raw" if raw else "read")
    return mirror.fetch(checkpoints if not raw else everything)


def listing(given: Any) -> Path:
    """Return a copy of a folder of runs in which only the files that `mmcl runs` reads have content.

    Raises:
      UserError: the address cannot be used.
    """
    return Mirror(Address.parse(given, "directory: "), kind="list").fetch(unlisted)


def filled(folder: Path) -> None:
    """Fetch the large files of a checkpoint, which `local` leaves out; a folder that is no copy stays as it is.

    If the training has removed the checkpoint meanwhile, its files have not the content that their checksums tell.
    """
    kind = cache.kind_of(folder)
    if kind == "read" or kind.startswith("work"):
        address = cache.address_at(folder.parent.parent, kind)
        assert address is not None
        with contextlib.suppress(ChangedError):
            Mirror(address, kind=kind).fill(folder)


def is_own_copy(path: Path) -> bool:
    """Return whether a path lies in a copy that this process of several has for itself."""
    return cache.kind_of(path).startswith(OWN)


def addressed(
    *, raw: Iterable[str] = (), reads: Iterable[str] = (), writes: Iterable[str] = (), shared: Iterable[str] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator with which the function of a command takes addresses for these parameters.

    The function gets paths of copies, and what it wrote there is published when it returns, by the first of several
    processes; after an exception nothing is. A value may be one path or a sequence of paths, or an opened run.

    Args:
      raw: parameters that are read, and that other programs wrote.
      reads: parameters that are read.
      writes: parameters of what is written, or read and written.
      shared: those of `writes` where all processes write, if `distributed` is set, and which then cannot be addresses.
    """
    roles = {**dict.fromkeys(raw, "raw"), **dict.fromkeys(reads, "read"), **dict.fromkeys(writes, "write")}

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        assert roles.keys() <= signature.parameters.keys()

        @functools.wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs)
            for name in shared if given.arguments.get("distributed") else ():
                elsewhere = f"--{name}: with --distributed, name a path that all hosts see, and copy it to the bucket."
                check(not is_address(given.arguments.get(name)), elsewhere)
            written: list[Mirror] = []
            for name, role in roles.items():
                if name in given.arguments:
                    option = f"--{name.replace('_', '-')}: "
                    given.arguments[name] = _taken(given.arguments[name], option, role, written)
            before = {mirror.path: _beside(mirror.path) for mirror in written}
            result = function(*given.args, **given.kwargs)
            for mirror in written if _is_first() else ():
                mirror.publish(guarded=True)
                folder = dataclasses.replace(mirror.address, key=mirror.address.key.rpartition("/")[0])
                for name, _ in _beside(mirror.path).items() - before[mirror.path].items():
                    Mirror(folder / name).publish()
            return result

        return command

    return decorate


def _beside(path: Path) -> dict[str, tuple[int, int]]:
    """Return what identifies the content of files beside a file, such as the list of rows that were not embedded.

    A file that is written has another inode or time of change than before, whatever the clock shows.
    """
    others = path.parent.glob(f"{glob.escape(path.stem)}.*") if not path.is_dir() else ()
    found = ((other.name, other.stat()) for other in others if other != path and other.is_file())
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found}


def _is_first() -> bool:
    """Return whether this is the first of several processes, or the only one; it does not load JAX to know that."""
    jax = sys.modules.get("jax")
    return jax is None or not jax.distributed.is_initialized() or jax.process_index() == 0


def _taken(value: Any, option: str, role: str, written: list[Mirror]) -> Any:
    """Return a value with paths in place of addresses; copies that may be changed are added to `written`."""
    if isinstance(value, list | tuple):
        return type(value)(_taken(one, option, role, written) for one in value)
    opened = getattr(value, "directory", None)
    if isinstance(opened, Path) and role == "write":  # a run that was opened at an address
        if (address := cache.address_at(opened, "read")) is not None:
            written.append(Mirror(address))
        return value
    if not is_address(value):
        if isinstance(value, str | os.PathLike):
            named(value, option.removesuffix(": "))
        return value
    if role != "write":
        return local(value, option=option, raw=role == "raw")
    mirror = Mirror(Address.parse(value, option))
    mirror.fetch(checkpoints)
    mirror.objects.check_writable()
    mirror.path.parent.mkdir(parents=True, exist_ok=True)
    written.append(mirror)
    return mirror.path
