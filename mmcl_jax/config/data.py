"""The data sets that the experiments of a paper come for, and the preset of each."""

from collections.abc import Mapping
from typing import Literal, get_args

from mmcl_jax.config.own import choose
from mmcl_jax.config.own_data import OwnData
from mmcl_jax.config.preset import Preset
from mmcl_jax.config.presets import CARDIAC, CARS, DIGITS, DVM
from mmcl_jax.errors import check

# DVM-CAR and UK Biobank cardiac at the published size; the shipped digits and drawn cars at one for two cores; and a
# store of one's own, "own" on the command line.
Data = Literal["dvm", "cardiac", "digits", "cars"] | OwnData

_PRESETS: Mapping[str, Preset] = {"dvm": DVM, "cardiac": CARDIAC, "digits": DIGITS, "cars": CARS}


def preset(data: Data) -> Preset:
    """Return the preset of a data set, or the preset that a store and the devices decide.

    Raises:
      UserError: there is no such data set.
    """
    if isinstance(data, OwnData):
        return choose(data)
    check(data in _PRESETS, f"There is no preset for the data {data!r}; choose from {', '.join(_PRESETS)}.")
    return _PRESETS[data]


def data_names() -> tuple[str, ...]:
    """Return the names of data sets that may follow the colon of a config's name on the command line."""
    return (*get_args(get_args(Data)[0]), "own")
