"""Keys that configs gained after runs were begun: a run without them reads as what it was trained with."""

from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.training.plain import from_plain

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


def with_added_keys(config: ConfigDict) -> ConfigDict:
    """Return the config of a run, of any version, with every key that it lacks at what that version did."""
    for key, value in _ADDED.items():
        if key not in config:
            config[key] = from_plain(value)
    return config
