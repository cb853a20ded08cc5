"""The data sets that the experiments of a paper come for."""

from typing import Literal

# DVM-CAR and UK Biobank cardiac at the published size; the shipped digits and drawn cars at one for two cores.
Data = Literal["dvm", "cardiac", "digits", "cars"]
