"""Keys that configs gained after runs were begun: a run without them reads as what it was trained with."""

from ml_collections import ConfigDict

from mmcl_jax.training.plain import from_plain

_ADDED = {"sampler": {"name": "shuffle"}}


def with_added_keys(config: ConfigDict) -> ConfigDict:
    """Return the config of a run, of any version, with every key that it lacks at what that version did."""
    for key, value in _ADDED.items():
        if key not in config:
            config[key] = from_plain(value)
    return config
