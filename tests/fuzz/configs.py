"""Configs: overrides of keys that exist and keys that do not, with literals of every form."""

import copy
import functools
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ml_collections import ConfigDict

from mmcl_jax.config import load
from mmcl_jax.config.load import apply
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.validate import check_config
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import texts, values

_NAMES = ("digits_mmcl", "mmcl/byol:digits")


def _keys(config: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of a config, groups included."""
    found = []
    for key, value in config.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, ConfigDict):
            found += _keys(value, f"{prefix}{key}.")
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                found += [f"{prefix}{key}.{index}"]
                found += _keys(item, f"{prefix}{key}.{index}.") if isinstance(item, ConfigDict) else []
    return found


_loaded = functools.cache(load)
_known = st.deferred(lambda: st.sampled_from(_keys(_loaded(_NAMES[0]))))
_keys_of_any_form = _known | st.tuples(_known, texts).map(".".join) | texts
_literals = (
    values.map(repr)
    | texts
    | st.sampled_from(
        [
            "b'x'",
            "{1, 2}",
            "{[]: 1}",
            "(" * 300,
            "1" * 5000,
            "-" * 900 + "1",
            "1j",
            "...",
            "None",
            "()",
            "(1,)",
            "1_0",
            "'\\ud800'",
        ]
    )
)
_overrides = st.lists(st.tuples(_keys_of_any_form, _literals), max_size=3)


def _write(case: dict[str, Any], folder: Path) -> None:
    pass


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    config = copy.deepcopy(_loaded(case["name"]))
    apply(config, [f"{key}={value}" for key, value in case["overrides"]])
    config.data = "store"
    check_config(config)
    plain = to_plain(config)
    if to_plain(from_plain(plain)) != plain:
        raise Wrong(f"{plain} is not read as it was written")


CONFIGS = Kind(
    "configs", st.fixed_dictionaries({"name": st.sampled_from(_NAMES), "overrides": _overrides}), _write, _act
)
