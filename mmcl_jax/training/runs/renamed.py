"""Keys of configs that had other names in versions up to 0.1."""

from collections.abc import Mapping
from typing import Any

from mmcl_jax.data.inputs import OPTIONS, TABLE_OPTIONS
from mmcl_jax.errors import UserError

RENAMED = {**{option: f"inputs.table.{option}" for option in TABLE_OPTIONS}, "input": "loader"}

# Keys that configs gained, with what versions without them did.
_ADDED: dict[str, Any] = {
    "normalise_terms": None,
    "sampler": {"name": "shuffle"},
    "keep_every": None,
    "frozen": [],
    "rates": {},
    "average": {"kind": None, "decay": 0.999, "start": 0},
    "validation": {"epochs": None},
    "stop": {"patience": None, "min_delta": 0.0},
}


def renamed(key: str) -> str:
    """Return today's name of a dotted key.

    Example:
      >>> renamed("input.workers"), renamed("missing"), renamed("epochs")
      ('loader.workers', 'inputs.table.missing', 'epochs')
    """
    first, dot, rest = key.partition(".")
    return f"{RENAMED.get(first, first)}{dot}{rest}"


def renamed_override(override: str) -> str:
    """Return a text `key.path=value` with today's name of the key."""
    key, equals, value = override.partition("=")
    return f"{renamed(key)}{equals}{value}"


def check_key(key: str) -> None:
    """Raise `UserError` if a dotted key is an old name, with today's."""
    if renamed(key) != key:
        raise UserError(f"config.{key}: this key is config.{renamed(key)} now.")


def is_old(plain: Mapping[str, Any]) -> bool:
    """Return whether a config, as JSON, was written by a version with the old names."""
    return any(key in plain for key in RENAMED)


def translated(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as JSON with today's names: that of an old run has an input for each of its encoders."""
    plain = {**_ADDED, **plain}
    if not is_old(plain):
        return dict(plain)
    kept = {key: value for key, value in plain.items() if key not in RENAMED}
    table = {key: plain[key] for key in TABLE_OPTIONS if key in plain}
    inputs = {name: {**OPTIONS, **(table if name == "table" else {})} for name in plain["encoders"]}
    loader = {"images": "auto", "workers": None, **plain.get("input", {})}
    return {**kept, "inputs": inputs, "loader": loader, "cohort": "outer", "fold": None}
