"""The process parameters of a membrane: how it was cast, and columns that mean nothing."""

import dataclasses

import numpy as np

# How fast water takes each solvent out of the film, and how a film of each polymer resists; both are unitless.
SOLVENTS = {"NMP": 0.2, "DMAc": 0.6, "DMF": 1.0, "DMSO": -0.9}
POLYMERS = {"PES": 0.3, "PSf": 0.0, "PVDF": -1.0, "PAN": 0.8, "CA": -0.4}
ADDITIVES = ("none", "PVP", "PEG", "LiCl")
BATHS = {"water": 0.0, "water/ethanol": -1.1, "water/solvent": -1.7}
SHAPES = ("flat sheet", "hollow fibre")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """The parameters of one membrane; the names are those of the columns, with units.

    `operator`, `batch`, `pressure_hpa` and `balance_drift_mg` are noise: nothing depends on them.
    """

    shape: str
    polymer: str
    polymer_wt_percent: float
    solvent: str
    additive: str
    additive_wt_percent: float
    dope_temperature_c: float
    bath: str
    bath_temperature_c: float
    air_exposure_s: float
    humidity_percent: float
    gap_um: float
    speed_m_per_min: float
    operator: str
    batch: int
    pressure_hpa: float
    balance_drift_mg: float

    @classmethod
    def random(cls, random: np.random.Generator) -> "Process":
        """Return random parameters."""
        additive = str(random.choice(ADDITIVES, p=(0.25, 0.35, 0.25, 0.15)))
        amount = 0.0 if additive == "none" else random.uniform(0.5, 4.0 if additive == "LiCl" else 12.0)
        return cls(
            shape=str(random.choice(SHAPES, p=(0.6, 0.4))),
            polymer=str(random.choice(list(POLYMERS))),
            polymer_wt_percent=round(random.uniform(13, 23), 1),
            solvent=str(random.choice(list(SOLVENTS))),
            additive=additive,
            additive_wt_percent=round(amount, 1),
            dope_temperature_c=round(random.uniform(20, 70), 1),
            bath=str(random.choice(list(BATHS), p=(0.6, 0.2, 0.2))),
            bath_temperature_c=round(random.uniform(5, 60), 1),
            air_exposure_s=round(random.exponential(15), 1),
            humidity_percent=round(random.uniform(20, 85), 1),
            gap_um=round(random.uniform(120, 280)),
            speed_m_per_min=round(random.uniform(1, 12), 2),
            operator=str(random.choice(["AK", "BL", "CM", "DN", "EO"])),
            batch=int(random.integers(1, 60)),
            pressure_hpa=round(random.normal(1013, 8), 1),
            balance_drift_mg=round(random.normal(0, 1.5), 2),
        )


# Columns that nothing depends on, and columns that may have empty cells.
NOISE = ("operator", "batch", "pressure_hpa", "balance_drift_mg")
MAY_MISS: tuple[str, ...] = (
    "additive_wt_percent",
    "dope_temperature_c",
    "bath_temperature_c",
    "air_exposure_s",
    "humidity_percent",
)
MAY_MISS += ("speed_m_per_min", "operator", "pressure_hpa", "balance_drift_mg")
