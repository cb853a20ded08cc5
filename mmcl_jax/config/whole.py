"""Check that a config, which a file or a caller made, has all keys of an experiment and no others."""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import PARTS, experiment
from mmcl_jax.config.values import check_value
from mmcl_jax.errors import UserError
from mmcl_jax.text import brief, nearest
from mmcl_jax.training.runs.renamed import check_key

OWN = "own"  # the key of an `OwnData`
_BEGIN = "begin with mmcl_jax.config.experiment()"


def check_whole(config: Any) -> None:
    """Check the keys and groups of a config, and that every value can be recorded and computed with.

    Raises:
      UserError: this is no config, or a key is missing, unknown, no group, no part, or has a value of another type.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"config: this must be a ConfigDict, not {brief(config)}; {_BEGIN}.")
    for key in config:
        check_key(str(key))
    check_value(config, "config")
    _check_group(config, experiment(), "config")
    for key, registry in PARTS.items():
        if key == "objective" and not isinstance(config.objective, tuple):
            raise UserError(f"config.objective: {brief(config.objective)} is not a tuple of {registry.what}s.")
        for name, spec in _parts(key, config[key]):
            if not (isinstance(spec, ConfigDict) and isinstance(spec.get("name"), str)):
                make = f"make it with mmcl_jax.config.{registry.what}(...)"
                raise UserError(f"config.{name}: {brief(spec)} is no {registry.what}; {make}.")


def _parts(key: str, specs: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts under a key of `PARTS`, with their own keys."""
    if key in ("optimizer", "schedule", "sampler"):
        yield key, specs
    else:
        named = enumerate(specs) if key == "objective" else specs.items()
        yield from ((f"{key}.{name}", spec) for name, spec in named)


def _check_group(config: ConfigDict, template: ConfigDict, path: str) -> None:
    for key in template:
        if key not in config:
            raise UserError(f"{path}.{key}: this key is missing; {_BEGIN}.")
    for key, value in config.items():
        known, name = template.get(key), f"{path}.{key}"
        if key not in template and (path, key) != ("config", OWN):
            guess = nearest(key, template)
            raise UserError(f"{name}: there is no such key{guess}; the keys are {', '.join(template)}.")
        if isinstance(value, ConfigDict) != isinstance(known, ConfigDict) and key != OWN:
            wrong = (
                "must be a group of keys" if isinstance(known, ConfigDict) else "must be one value, no group of keys"
            )
            raise UserError(f"{name}: this {wrong}, not {brief(value)}.")
        if isinstance(known, ConfigDict) and key not in PARTS and len(known) > 0:
            _check_group(value, known, name)
