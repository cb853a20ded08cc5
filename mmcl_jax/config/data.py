"""The data sets that shipped experiments are defined for, with the preset of each."""

from collections.abc import Mapping
from typing import Literal, get_args

from mmcl_jax.config.own import choose
from mmcl_jax.config.own_data import OwnData
from mmcl_jax.config.preset import Preset
from mmcl_jax.config.presets import CARDIAC, CARS, DIGITS, DVM, MEMBRANES
from mmcl_jax.errors import check_name

# DVM-CAR and UK Biobank cardiac at the published size; the shipped digits, drawn cars and drawn membranes at a size for
# two cores; and the user's own store, "own" on the command line.
Data = Literal["dvm", "cardiac", "digits", "cars", "membranes"] | OwnData
# For methods that need classes: the label of a membrane is a number.
DataWithClasses = Literal["dvm", "cardiac", "digits", "cars"] | OwnData

_PRESETS: Mapping[str, Preset] = {
    "dvm": DVM,
    "cardiac": CARDIAC,
    "digits": DIGITS,
    "cars": CARS,
    "membranes": MEMBRANES,
}


def preset(data: Data) -> Preset:
    """Return the preset of a data set, or the preset that is chosen for the user's own store and devices.

    Raises:
      UserError: there is no preset for the data set.
    """
    if isinstance(data, OwnData):
        return choose(data)
    check_name(data, _PRESETS.keys(), "There is no preset for the data")
    return _PRESETS[data]


def data_names() -> tuple[str, ...]:
    """Return the names that may follow the colon in a config's name, as in `mmcl/mmcl:digits`."""
    return (*get_args(get_args(Data)[0]), "own")
