"""The data sets that the experiments of a paper come for."""

from typing import Literal, get_args

from mmcl_jax.config import own
from mmcl_jax.config.own_data import OwnData

# DVM-CAR and UK Biobank cardiac at the published size; the shipped digits and drawn cars at one for two cores; and a
# store of one's own, "own" on the command line.
Data = Literal["dvm", "cardiac", "digits", "cars"] | OwnData


def is_small(data: Data) -> bool:
    """Whether an experiment on these data has a small CNN with projectors to match, and no ResNet."""
    return own.is_small(data) if isinstance(data, OwnData) else data in ("digits", "cars")


def data_names() -> tuple[str, ...]:
    """Return the names of data sets that may follow the colon of a config's name on the command line."""
    return (*get_args(get_args(Data)[0]), "own")
