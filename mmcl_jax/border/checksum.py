"""Checksums of JSON values, also within a file that is written again and again and has no record beside it."""

import hashlib
from collections.abc import Mapping
from typing import Any

from mmcl_jax.border.parse import to_json

KEY = "sha256"


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


def check_checksum(value: Mapping[str, Any]) -> None:
    """Raise `ValueError` if an object has a checksum, and it is not that of its other keys."""
    if KEY in value and with_checksum(value)[KEY] != value[KEY]:
        raise ValueError(f"its checksum differs; if the change is intended, remove the key {KEY!r}")
