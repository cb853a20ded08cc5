"""The objects of a bucket below an address: list them, always afresh, and get, put, create and remove them.

Object stores have no rename and no append. An object appears whole when its last byte has been sent, and replaces an
earlier object of its name. Everything that is sent or fetched is compared with its size and, where the store tells it,
its MD5; a request that fails for a passing reason is repeated.
"""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mmcl_jax.bucket.address import Address
from mmcl_jax.errors import UserError

T = TypeVar("T")
TRIES = 6  # of one request
_THREADS = 16
_SINGLE = 64 * 2**20  # bytes up to which an object is sent in one request, which either happens or does not
# Requests are repeated here, and not by botocore and s3fs, too, which would multiply the tries to many minutes.
_S3 = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60}
# Attempts to repeat do not help against these; the names are of botocore's, google-auth's and gcsfs's classes.
_LASTING = (FileNotFoundError, PermissionError, FileExistsError, NotADirectoryError, UserError)
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
                   "DefaultCredentialsError", "RefreshError")  # fmt: skip


class ChangedError(Exception):
    """An object that is not the one that was listed, because another program has replaced or removed it."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """An object as a listing shows it.

    Attributes:
      size: in bytes.
      tag: the store's name of this content, which changes with it.
      modified: when it was written, in seconds since 1970.
    """

    size: int
    tag: str
    modified: float

    @property
    def md5(self) -> str | None:
        """The MD5 of the content in hexadecimal, None if the store does not tell it (an object sent in parts)."""
        return self.tag if len(self.tag) == 32 and all(mark in "0123456789abcdef" for mark in self.tag) else None


@dataclasses.dataclass(frozen=True)
class Sent:
    """What was sent to a store: its size in bytes and, unless it was sent in parts, its MD5."""

    size: int
    md5: str | None

    def is_in(self, stored: Stored) -> bool:
        """Return whether an object has this content, as far as the store tells it."""
        return self.size == stored.size and (None in (self.md5, stored.md5) or self.md5 == stored.md5)


class Objects:
    """The objects below an address, by their name relative to it; the name "" is an object at the address itself."""

    def __init__(self, address: Address) -> None:
        """Take the address. Raises `UserError` if the library for it is not installed."""
        address.check_installed()
        self.address = address

    def list(self) -> dict[str, Stored]:
        """Return all objects, as they are at this moment.

        Raises:
          UserError: the bucket does not exist, or may not be read.
        """
        system = self._system()
        with _explained(self.address, "read"):
            found = _tried(lambda: system.find(self.address.path, detail=True))
            if not found:
                _tried(lambda: system.ls(self.address.bucket))  # an empty folder is none, but a bucket is or is not
        prefix = len(self.address.path)
        named = {path[prefix:].removeprefix("/"): info for path, info in found.items()}
        return {
            name: _stored(info) for name, info in named.items() if not name.endswith("/") and info["type"] == "file"
        }

    def read(self, name: str) -> bytes | None:
        """Return the content of a small object, None if it does not exist."""
        with _explained(self.address, "read"):
            try:
                return _tried(lambda: self._system().cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def get(self, name: str, stored: Stored, path: Path) -> None:
        """Write an object to a file, which has the content that was listed or does not appear.

        Raises:
          ChangedError: the object has changed since it was listed.
        """
        partial = path.with_name(f".{path.name}.{os.getpid()}.fetching")

        def once() -> None:
            self._system().get_file(self._path(name), str(partial))
            if partial.stat().st_size != stored.size or (stored.md5 and _md5(partial) != stored.md5):
                if _same(self._stat(name), stored):
                    raise OSError(f"{self.address / name} arrived damaged")
                raise ChangedError(str(self.address / name))

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _explained(self.address / name, "read"):
                try:
                    _tried(once)
                except FileNotFoundError as error:
                    raise ChangedError(str(self.address / name)) from error
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, name: str, path: Path) -> Sent:
        """Write a file to an object, and return what was sent; a log that grows meanwhile is cut anywhere."""
        with _explained(self.address / name, "written"):
            if (size := path.stat().st_size) > _SINGLE:
                _tried(lambda: self._system().put_file(str(path), self._path(name)))
                return Sent(size, None)
            data = path.read_bytes()
            _tried(lambda: self._system().pipe_file(self._path(name), data))
            return Sent(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        with _explained(self.address / name, "written"):
            _tried(lambda: self._system().pipe_file(self._path(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Write a small object unless an object of its name exists; return whether it was written.

        The store decides, so of two programs that create one name, one succeeds (`If-None-Match` of S3,
        `ifGenerationMatch` of Google).
        """
        with _explained(self.address / name, "written"):
            try:
                _tried(lambda: self._system().pipe_file(self._path(name), data, mode="create"))
            except FileExistsError:
                return self.read(name) == data  # an earlier try may have succeeded without an answer
            return True

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that do not exist are left out."""

        def once(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                _tried(lambda: self._system().rm_file(self._path(name)))

        with _explained(self.address, "written"):
            in_parallel(once, names)

    def check_writable(self) -> None:
        """Raise `UserError` unless objects can be written below the address."""
        name = f".probe-{os.urandom(8).hex()}"
        self.write(name, b"mmcl asks whether it may write here\n")
        self.remove([name])

    def _stat(self, name: str) -> Stored | None:
        try:
            return _stored(self._system().info(self._path(name)))
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> str:
        return f"{self.address.path}/{name}" if name else self.address.path

    def _system(self) -> Any:
        return _system(self.address.scheme, os.getpid())


def in_parallel(function: Callable[[str], object], names: Iterable[str]) -> None:
    """Call a function for many names in threads; raise the first exception."""
    with ThreadPoolExecutor(_THREADS) as threads:
        pending = [threads.submit(function, name) for name in names]
        try:
            for future in pending:
                future.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


@functools.cache
def _system(scheme: str, process: int) -> Any:
    """Return fsspec's file system of a protocol for this process (connections do not survive a fork).

    Credentials, endpoint and region are those of the environment, as the libraries read them. Listings are not cached:
    another program may have written meanwhile.
    """
    # gcsfs would ask for the kind of every bucket, by another protocol, and log that it may not.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import fsspec

    options = {"config_kwargs": _S3} if scheme == "s3" else {}
    system = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
    if scheme == "s3":
        system.retries = 1
    return system


def _tried(function: Callable[[], T]) -> T:
    """Call a function, and again after growing pauses while it fails for a reason that may pass."""
    for attempt in range(TRIES):
        try:
            return function()
        except (*_LASTING, ChangedError):
            raise
        except Exception as error:
            if attempt == TRIES - 1 or type(error).__name__ in _NO_CREDENTIALS:
                raise
            time.sleep(random.uniform(0.5, 1.0) * 0.25 * 2**attempt)
    raise AssertionError


@contextlib.contextmanager
def _explained(address: Address, done: str) -> Iterator[None]:
    """Turn the exceptions of a library into a `UserError` that names the address; it repeats no text of a request."""
    try:
        yield
    except (UserError, ChangedError):
        raise
    except PermissionError as error:
        raise UserError(
            f"{address} may not be {done} with this machine's credentials; change its permissions, or name another "
            "address."
        ) from error
    except (FileNotFoundError, FileExistsError) as error:
        bucket = dataclasses.replace(address, key="")
        raise UserError(f"The bucket {bucket} does not exist; make it, or name another address.") from error
    except Exception as error:
        if type(error).__name__ in _NO_CREDENTIALS:
            raise UserError(
                f"{address}: there are no credentials for {address.scheme}:// on this machine; put them into the "
                "environment (see docs/buckets.md)."
            ) from error
        kind = type(error).__name__
        raise UserError(
            f"{address} could not be {done} in {TRIES} tries ({kind}); check the connection, then start the same "
            "command again."
        ) from error


def _stored(info: dict[str, Any]) -> Stored:
    tag = info.get("ETag") or info.get("md5Hash") or info.get("etag") or ""
    modified = info.get("LastModified") or info.get("mtime") or info.get("updated") or 0.0
    if isinstance(modified, str):
        modified = datetime.datetime.fromisoformat(modified)
    seconds = modified.timestamp() if isinstance(modified, datetime.datetime) else float(modified)
    return Stored(size=int(info["size"] or 0), tag=_hexadecimal(str(tag).strip('"')), modified=seconds)


def _hexadecimal(tag: str) -> str:
    """Return Google's MD5, which is in base64, as S3 writes it."""
    if len(tag) == 24 and tag.endswith("=="):
        import base64

        return base64.b64decode(tag).hex()
    return tag


def _same(found: Stored | None, stored: Stored) -> bool:
    return found is not None and (found.size, found.tag) == (stored.size, stored.tag)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
