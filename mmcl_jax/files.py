"""Atomic writes, and checksums that find damaged files."""

import contextlib
import dataclasses
import errno
import hashlib
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmcl_jax.border import read_json, to_json
from mmcl_jax.errors import UserError, check

CHECKSUMS = "checksums.json"


# What libraries say of errors of the system, which they wrap in errors of their own; the first that fits is meant.
_SYSTEM = {
    errno.ENOMEM: ("Cannot allocate memory", "Out of memory", "Unable to allocate", "bad_alloc"),
    errno.EAGAIN: ("can't start new thread",),
    errno.EMFILE: ("Too many open files",),
    errno.ENOSPC: ("No space left on device", "RESOURCE_EXHAUSTED"),
    errno.EDQUOT: ("Disk quota exceeded",),
    errno.EFBIG: ("File too large",),
    errno.EROFS: ("Read-only file system",),
    errno.EACCES: ("Permission denied", "PERMISSION_DENIED"),
    errno.EIO: ("Input/output error",),
}
_OF_THE_PROCESS = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE)  # and of no path


def system_error(error: BaseException, path: Path | None = None) -> OSError | None:
    """Return the error of the operating system that a library raised in another form; None if it is no such error.

    Example:
      >>> system_error(RuntimeError("write() failed: No space left on device; writing a"), Path("store"))
      OSError(28, 'No space left on device')
    """
    cause: BaseException | None = error
    seen = set[int]()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))  # an error that was raised twice may be a cause of its cause
        if isinstance(cause, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        for code, words in _SYSTEM.items():
            if any(word in str(cause) for word in words):
                where = None if path is None or code in _OF_THE_PROCESS else str(path)
                return OSError(code, os.strerror(code), where)
        cause = cause.__cause__ or cause.__context__
    return None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise errors of writing a file, or into a folder, as `OSError`s with its name, also those that libraries wrap."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # libraries raise some without a number
            if error.filename is not None or error.errno in _OF_THE_PROCESS:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        if (system := system_error(error, path)) is None:
            raise
        raise system from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which is renamed to `path` when the block ends.

    So `path` is complete or absent at any moment. A file replaces an older file, and a folder an older folder, which is
    absent for the moment between two renames; a kill at this moment is mended by the next call. The temporary file or
    folder is removed if the block raises, and so is one that a killed process left.
    """
    if path.is_symlink() and path.is_dir():
        path = path.resolve()
    partial, old = (path.with_name(f".{path.name}.{state}") for state in ("partial", "old"))
    _remove(partial)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(old)
    try:
        with writing(path):
            yield partial
            if path.is_dir() and partial.is_dir():
                path.rename(old)
            partial.replace(path)
            _remove(old)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        _remove(partial)
        raise


def reserve(path: Path) -> None:
    """Reserve the disk space of a file that is written through a mapping.

    Without it the file has holes, and on a full disk a write into a hole ends the process (SIGBUS).

    Raises:
      OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with writing(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def is_partial(path: Path) -> bool:
    """Return whether this is the temporary file of an `atomic` write, which a killed process leaves."""
    return path.name.startswith(".") and path.name.endswith((".partial", ".old"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: it has the old content or the new one, also after a kill."""
    with atomic(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The size and the SHA-256 of a file when it was written; the size is None in stores of format 2."""

    bytes: int | None
    sha256: str

    def fault(self, path: Path, *, root: Path, contents: bool = True) -> str | None:
        """Return what is wrong with a file, as a clause that names it; None if it is as recorded.

        Args:
          path: the file.
          root: the folder out of which no link may lead.
          contents: whether to compare the content, and not the size alone.
        """
        try:
            if leads_out(path, root):
                return f"{path} is a link, or in a linked folder, that leads out of {root}"
            if not path.is_file():
                return f"{path} is {'not a file' if path.exists() else 'missing'}"
            size = path.stat().st_size
            if self.bytes not in (None, size):
                return f"{path} has {size} bytes, not {self.bytes}"
            return f"the content of {path} has changed" if contents and sha256(path) != self.sha256 else None
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"


def leads_out(path: Path, root: Path) -> bool:
    """Return whether a path, by links, is outside of the folder `root`."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def record(path: Path) -> Recorded:
    """Return the size and the SHA-256 of a file."""
    return Recorded(path.stat().st_size, sha256(path))


def write_checksums(directory: Path, files: Iterable[Path], *, name: str = CHECKSUMS) -> None:
    """Write size and SHA-256 of these files of the directory into `checksums.json`, or into the file `name`."""
    paths = sorted(files)
    with ThreadPoolExecutor(max_workers=4) as threads:
        records = list(threads.map(record, paths))
    write_records(
        directory / name, {str(path.relative_to(directory)): one for path, one in zip(paths, records, strict=True)}
    )


def write_records(path: Path, records: Mapping[str, Recorded]) -> None:
    """Write the sizes and checksums of files by name, atomically."""
    write_text(path, to_json({name: dataclasses.asdict(one) for name, one in records.items()}, indent=1) + "\n")


def read_records(path: Path, remedy: str) -> dict[str, Recorded]:
    """Return the sizes and checksums that `write_records` wrote, by name; or checksums alone, of a store of format 2.

    Raises:
      UserError: the file is missing, damaged, or names a file outside of its folder.
    """
    check(not leads_out(path, path.parent), f"{path} is a link that leads out of {path.parent}; {remedy}.")
    raw: dict[str, str | Recorded] = read_json(path, dict[str, str | Recorded], remedy)
    for name in raw:
        inside = name and not os.path.isabs(name) and ".." not in Path(name).parts and "\0" not in name
        check(bool(inside), f"{path} names {name!r}, which is no file of the folder; {remedy}.")
    return {name: Recorded(None, one) if isinstance(one, str) else one for name, one in raw.items()}


def damage(directory: Path, *, contents: bool = True, root: Path | None = None) -> str | None:
    """Return a description of the first file that differs from `checksums.json`; None if no file does.

    A directory without `checksums.json` passes: early versions wrote none.

    Args:
      directory: the folder with the file of checksums.
      contents: whether to compare contents, and not sizes alone.
      root: the folder out of which no link may lead; `directory` by default.
    """
    root = directory if root is None else root
    if leads_out(directory, root):
        return f"{directory} is a link, or in a linked folder, that leads out of {root}"
    path = directory / CHECKSUMS
    if not path.exists() and not path.is_symlink():
        return None
    try:
        records = read_records(path, "")
    except UserError:
        return f"{path} cannot be read{', since it is a link out of the folder' if leads_out(path, root) else ''}"
    for name, recorded in records.items():
        if fault := recorded.fault(directory / name, root=root, contents=False):
            return fault
    if not contents:
        return None
    with ThreadPoolExecutor(max_workers=4) as threads:
        found = threads.map(lambda item: item[1].fault(directory / item[0], root=root), records.items())
        return next(filter(None, found), None)


# What reading a member of a zip raises, whichever way it says that it is compressed. RuntimeError: a flag says that the
# member is encrypted, or compressed in an unknown way.
ZIP_FAULTS = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_DAMAGES = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, struct.error,
    *(fault for fault in ZIP_FAULTS if fault is not OSError),
)  # fmt: skip


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn the exceptions of reading a damaged file into a `UserError` that names the file and the remedy.

    Raises:
      UserError: the file is missing, truncated, or of another format.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {remedy}.") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise UserError(
            f"{path} is damaged ({error.strerror or error}); {remedy}."
        ) from error  # a seek before its begin
    except _DAMAGES as error:
        reason = next(iter(str(error).splitlines()), "it is empty")
        raise UserError(f"{path} is damaged ({reason}); {remedy}.") from error
