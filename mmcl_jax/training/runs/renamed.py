"""Translation of config keys that had other names in versions up to 0.1."""

from collections.abc import Mapping
from typing import Any

from mmcl_jax.data.inputs import OPTIONS, TABLE_OPTIONS
from mmcl_jax.errors import UserError

RENAMED = {**{option: f"inputs.table.{option}" for option in TABLE_OPTIONS}, "input": "loader"}

# Keys that later versions added, with the values that versions without them amount to.
_ADDED: dict[str, Any] = {
    "normalise_terms": None,
    "sampler": {"name": "shuffle"},
    "keep_every": None,
    "frozen": [],
    "rates": {},
    "average": {"kind": None, "decay": 0.999, "start": 0},
    "validation": {"epochs": None},
    "stop": {},
    "sinks": ["tensorboard"],
    "clip_norm": None,
}
_ADDED_INPUT: dict[str, Any] = {"scale": "std"}
_ADDED_STOP: dict[str, Any] = {"patience": None, "min_delta": 0.0, "on": []}


def renamed(key: str) -> str:
    """Return the current name of a dotted key.

    Example:
      >>> renamed("input.workers"), renamed("missing"), renamed("epochs")
      ('loader.workers', 'inputs.table.missing', 'epochs')
    """
    first, dot, rest = key.partition(".")
    return f"{RENAMED.get(first, first)}{dot}{rest}"


def renamed_override(override: str) -> str:
    """Return an override `key.path=value` with the current name of its key."""
    key, equals, value = override.partition("=")
    return f"{renamed(key)}{equals}{value}"


def check_key(key: str) -> None:
    """Raise `UserError`, which names the current name, if a dotted key is an old name."""
    if renamed(key) != key:
        raise UserError(f"config.{key}: this key was renamed; write config.{renamed(key)}.")


# Options of parts that later versions added, with the values that versions without them amount to.
_ADDED_OPTIONS: dict[str, dict[str, Any]] = {
    "cross_attention": {"form": "symmetric"},
    **{name: {"decay": "all"} for name in ("adam_l2", "adamw", "radam")},
    **{name: {"pixels": "unit"} for name in ("resnet18", "resnet50")},
    "clip": {"group": "repel", "reduction": "mean", "text": "repel", "within": None},
    "local_alignment": {
        "positives": "smooth",
        "weighting": "encoder",
        "sides": [1.0, 1.0],
        "normalise": "none",
        "padding": "mask",
    },
    "mlp_norm": {"out_norm": False},
    "nt_xent": {"queue": 0},
}


def is_old(plain: Mapping[str, Any]) -> bool:
    """Return whether a config, as JSON, has old names of keys."""
    return any(key in plain for key in RENAMED)


def translated(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, as JSON, with the current names of keys; an old config gains an input for each encoder."""
    plain = {**_ADDED, **plain}
    if isinstance(plain["stop"], Mapping):  # else it is wrong, which a check says
        plain["stop"] = {**_ADDED_STOP, **plain["stop"]}
    plain["encoders"] = plain.get("encoders", {})
    for parts in ("encoders", "projectors", "predictors"):
        if parts in plain:
            plain[parts] = {name: _completed(spec) for name, spec in plain[parts].items()}
    if "objective" in plain:
        plain["objective"] = [_completed(spec) for spec in plain["objective"]]
    if isinstance(plain.get("inputs"), Mapping):  # else it is old, or wrong
        inputs = plain["inputs"].items()
        plain["inputs"] = {name: {**_ADDED_INPUT, **of} if isinstance(of, Mapping) else of for name, of in inputs}
    if "optimizer" in plain:
        plain["optimizer"] = _completed(plain["optimizer"])
    if not is_old(plain):
        return dict(plain)
    current = {key: value for key, value in plain.items() if key not in RENAMED}
    table = {key: plain[key] for key in TABLE_OPTIONS if key in plain}
    inputs = {name: {**OPTIONS, **(table if name == "table" else {})} for name in plain["encoders"]}
    loader = {"images": "auto", "workers": None, **plain.get("input", {})}
    return {**current, "inputs": inputs, "loader": loader, "cohort": "outer", "fold": None}


def _completed(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {**_ADDED_OPTIONS.get(spec["name"], {}), **spec}
