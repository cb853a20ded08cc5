"""Configs as JSON values and back. Tuples become lists; nothing in a config is a list, so lists become tuples."""

from typing import Any

from ml_collections import ConfigDict


def to_plain(value: Any) -> Any:
    """Return a config, or a section of one, as dicts, lists and scalars."""
    if isinstance(value, ConfigDict):
        return {key: to_plain(item) for key, item in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any) -> Any:
    """Return the inverse of `to_plain`."""
    if isinstance(value, dict):
        config = ConfigDict(allow_dotted_keys=True)  # of projectors, such as "image.local"
        for key, item in value.items():
            config[key] = from_plain(item)
        return config
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    return value
