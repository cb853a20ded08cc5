"""Configs as JSON values and back. Tuples become lists and lists tuples again, as configs hold no lists."""

from typing import Any

from ml_collections import ConfigDict


def to_plain(value: Any) -> Any:
    """Return a config, or a section of a config, as dicts, lists and scalars."""
    if isinstance(value, ConfigDict):
        return {key: to_plain(item) for key, item in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any) -> Any:
    """Return the config that `to_plain` turned into this value."""
    if isinstance(value, dict):
        config = ConfigDict(allow_dotted_keys=True)  # such as the projector "image.local"
        for key, item in value.items():
            config[key] = from_plain(item)
        return config
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    return value


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts and lists as one dict with dotted keys.

    Example:
      >>> flattened({"a": {"b": 1}, "terms": [{"name": "clip"}], "size": [8, 8]})
      {'a.b': 1, 'terms.0.name': 'clip', 'size': [8, 8]}
    """
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = {str(index): item for index, item in enumerate(value)}.items()
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(flattened(item, f"{prefix}.{key}" if prefix else key))
    return flat
