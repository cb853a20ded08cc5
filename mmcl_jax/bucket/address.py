"""Addresses of folders and files in buckets, such as `s3://BUCKET/stores/ads`."""

import dataclasses
import importlib.util
import os
import re
from typing import Any, Self

from mmcl_jax.errors import check

# The library that speaks each protocol, and the extra that installs it.
SCHEMES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# `Path("s3://bucket/a")` drops one slash; a folder called `s3:` is never meant.
_COLLAPSED = re.compile(rf"({'|'.join(SCHEMES)}):/(?!/)(.*)", re.DOTALL)


def is_address(given: Any) -> bool:
    """Return whether a text or path is an address, of whatever scheme, and not a path on this machine.

    >>> is_address("s3://b/stores/ads"), is_address("stores/ads"), is_address("s4://b")
    (True, False, True)
    """
    return isinstance(given, str | os.PathLike) and _match(os.fspath(given)) is not None


def _match(text: Any) -> re.Match[str] | None:
    return (_ADDRESS.fullmatch(text) or _COLLAPSED.fullmatch(text)) if isinstance(text, str) else None


@dataclasses.dataclass(frozen=True, order=True)
class Address:
    """A folder or file in a bucket: `SCHEME://BUCKET/KEY`; the key is "" for the whole bucket."""

    scheme: str
    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, given: Any, option: str = "") -> Self:
        """Read an address; `option` is what errors begin with, such as "--out: ".

        Credentials never belong in an address, because addresses are recorded; a message does not repeat them.

        Raises:
          UserError: the scheme is unknown, the bucket is missing, a part of the key is no name, or the address holds
            credentials.
        """
        match = _match(os.fspath(given))
        assert match is not None, given
        scheme, rest = match[1].lower(), match[2]
        known = " and ".join(f"{name}://" for name in SCHEMES)
        check(
            scheme in SCHEMES,
            f"{option}{scheme}:// is no known kind of address; {known} are.",
        )
        bucket, _, key = rest.partition("/")
        check(
            "@" not in bucket and ":" not in bucket and "?" not in rest,
            f"{option}an address of {scheme}:// must not hold credentials or options; give {scheme}://BUCKET/KEY, and "
            "the credentials in the environment (see docs/buckets.md).",
        )
        check(bool(bucket), f"{option}{scheme}:// names no bucket; give {scheme}://BUCKET/KEY.")
        parts = key.strip("/").split("/") if key.strip("/") else []
        for part in parts:
            usable = part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= 255
            check(usable, f"{option}{scheme}://{bucket}/{key}: {part!r} cannot name a folder or file.")
        return cls(scheme, bucket, "/".join(parts))

    @property
    def path(self) -> str:
        """The address without its scheme, as fsspec takes it."""
        return f"{self.bucket}/{self.key}".rstrip("/")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, name: str) -> Self:
        return dataclasses.replace(self, key=f"{self.key}/{name}".strip("/"))

    def check_installed(self) -> None:
        """Raise `UserError` unless the library that speaks the protocol is installed."""
        library, extra = SCHEMES[self.scheme]
        found = importlib.util.find_spec(library) is not None
        check(found, f'{self}: {library} is not installed; run pip install "mmcl_jax[{extra}]".')
