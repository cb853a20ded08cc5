"""Checksums of JSON values, also within a file that is written again and again and has no record beside it.

An object has the checksum of its other keys under `sha256`. A line of a file that grows ends in a checksum under `sum`,
of its text and of the checksum of the line before. So a line that was changed, removed or put in is noticed.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mmcl_jax.border.parse import to_json

KEY, SUM = "sha256", "sum"
_DIGITS = 12  # 48 bits, which keep a line short
_SUM = re.compile(rb', "' + SUM.encode() + rb'": "([0-9a-f]{%d})"\}$' % _DIGITS)


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal, whatever the order of keys."""
    return hashlib.sha256(to_json(value, sort_keys=True).encode()).hexdigest()


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the checksum of its other keys, whatever their order, under `sha256`.

    >>> with_checksum({"step": 3})["sha256"][:8]
    'a76b25b1'
    """
    content = {name: item for name, item in value.items() if name != KEY}
    return {**content, KEY: digest(content)}


def check_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other keys of an object; raise `ValueError` if it has a checksum, and it is not that of these keys."""
    if KEY in value and with_checksum(value)[KEY] != value[KEY]:
        raise ValueError(f"its checksum differs; if the change is intended, remove the key {KEY!r}")
    return {name: item for name, item in value.items() if name != KEY}


class Sums:
    """The checksums of the lines of one file, from its first line on.

    A line without a checksum is not compared, nor is the line behind it: an earlier version wrote it, or a person who
    changed it removed the key.

    >>> line = Sums().seal('{"step": 3}')
    >>> line
    '{"step": 3, "sum": "a76b25b15faf"}'
    >>> Sums().open(line.encode())
    b'{"step": 3}'
    """

    def __init__(self) -> None:
        self._before: bytes | None = b""  # the checksum of the last line; None if it has none

    def seal(self, line: str) -> str:
        """Return the text of a JSON object, which is not empty, with a checksum, as the next line of the file."""
        content = line.encode()
        self._before = _sum(content, self._before or b"")
        return f'{line[:-1]}, "{SUM}": "{self._before.decode()}"}}'

    def follow(self, line: bytes) -> None:
        """Take the next line of the file without comparing it."""
        found = _SUM.search(line)
        self._before = found[1] if found else None

    def open(self, line: bytes) -> bytes:
        """Return the next line of the file without its checksum; raise `ValueError` if that differs."""
        content, before = without_sum(line), self._before
        self.follow(line)
        if None not in (before, self._before) and _sum(content, before or b"") != self._before:
            raise ValueError(
                f"it, or the line before, has changed since it was written; if that is intended, remove its key {SUM!r}"
            )
        return content


def without_sum(line: bytes) -> bytes:
    """Return a line without its checksum, which is not compared."""
    found = _SUM.search(line)
    return line[: found.start()] + b"}" if found else line


def _sum(content: bytes, before: bytes) -> bytes:
    return hashlib.sha256(before + content).hexdigest()[:_DIGITS].encode()
