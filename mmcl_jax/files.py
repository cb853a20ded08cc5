"""Files that are there whole or not at all, and are what was written."""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmcl_jax.errors import UserError

CHECKSUMS = "checksums.json"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Give errors of writing, which come without a name, the name of the file, or of the folder that is written in."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the name to write a file or folder under, which becomes `path` when the block ends: whole, or not at all.

    A file replaces a file that was there before, and a folder a folder. What a call that was killed left under that
    name is removed, and so is what was written when the block raises.
    """
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        with writing(path):
            yield partial
            if path.is_dir() and partial.is_dir():
                shutil.rmtree(path)
            partial.replace(path)
    except BaseException:
        _remove(partial)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file in one piece: a reader, or a kill, sees the old content or the new one."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(directory: Path, files: Iterable[Path], *, name: str = CHECKSUMS) -> None:
    """Write `checksums.json`, or another `name`: size in bytes and SHA-256 of these files of the directory."""
    paths = sorted(files)
    with ThreadPoolExecutor(max_workers=4) as threads:
        sums = list(threads.map(sha256, paths))
    entries = {
        str(path.relative_to(directory)): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, sums, strict=True)
    }
    write_text(directory / name, json.dumps(entries, indent=1) + "\n")


def damage(directory: Path) -> str | None:
    """Return the first difference between a directory and its `checksums.json`, in words; None if there is none.

    A directory without that file was written by a version that wrote none, and is taken as it is.
    """
    path = directory / CHECKSUMS
    if not path.is_file():
        return None
    try:
        entries: Mapping[str, Mapping[str, object]] = json.loads(path.read_text())
        expected = {directory / name: (int(str(entry["bytes"])), entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path} cannot be read"
    for file, (size, _) in expected.items():
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != size:
            return f"{file} has {file.stat().st_size} bytes, not {size}"
    with ThreadPoolExecutor(max_workers=4) as threads:
        for file, digest in zip(expected, threads.map(sha256, expected), strict=True):
            if digest != expected[file][1]:
                return f"the content of {file} has changed"
    return None


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn what a damaged file raises when it is read into one sentence with the remedy.

    Raises:
      UserError: the file is missing, cut short, or holds something else.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {remedy}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        reason = next(iter(str(error).splitlines()), "it is empty")
        raise UserError(f"{path} is damaged ({reason}); {remedy}.") from error
