"""The 45 findings of RFMiD, and what each does to a drawn eye."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mmcl_jax.synthetic.eyes.anatomy import Eye, Marks, drusen, exudates, haemorrhages

_RED, _PALE, _YELLOW, _DARK, _GREY = (
    (0.42, 0.05, 0.05),
    (0.97, 0.9, 0.72),
    (1.0, 0.86, 0.4),
    (0.16, 0.09, 0.07),
    (0.6, 0.52, 0.42),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """How often a finding occurs, and the eye that has it."""

    rate: float
    change: Callable[[Eye], Eye]


def _marked(*marks: Marks, **fields: float) -> Callable[[Eye], Eye]:
    """Return the change that adds lesions and sets fields of the anatomy."""
    return lambda eye: dataclasses.replace(eye, marks=(*eye.marks, *marks), **fields)  # type: ignore[arg-type]


def _spot(
    colour: tuple[float, float, float],
    size: float,
    at: tuple[float, float] = (0.0, 0.0),
    *,
    count: int = 1,
    spread: float = 0.02,
    strength: float = 0.75,
    sharp: bool = False,
) -> Marks:
    """Return marks of one colour: a single large one, unless a count is given."""
    return Marks(count=count, colour=colour, size=size, spread=spread, centre=at, strength=strength, sharp=sharp)


def _wound(eye: Eye) -> Eye:
    return dataclasses.replace(eye, tortuosity=3.2 * eye.tortuosity)


def _thinned(eye: Eye) -> Eye:
    return dataclasses.replace(eye, artery=0.45 * eye.artery)


def _laser(count: int) -> Marks:
    return _spot(_PALE, 0.03, count=count, spread=0.6, sharp=True)


# In the order of the columns of RFMiD, with about its rates; very rare findings are drawn a little more often.
FINDINGS: dict[str, Finding] = {
    "DR": Finding(rate=0.2, change=_marked(haemorrhages(14), exudates(10))),
    "ARMD": Finding(rate=0.06, change=_marked(drusen(16), _spot(_GREY, 0.1))),
    "MH": Finding(rate=0.16, change=_marked(haze=0.75)),
    "DN": Finding(rate=0.08, change=_marked(drusen(22))),
    "MYA": Finding(rate=0.06, change=_marked(atrophy=1.9, tessellation=0.7)),
    "BRVO": Finding(rate=0.05, change=_marked(_spot(_RED, 0.03, (0.1, -0.45), count=40, spread=0.13))),
    "TSLN": Finding(rate=0.1, change=_marked(tessellation=1.0, pigment=-0.8)),
    "ERM": Finding(rate=0.02, change=_marked(_spot(_GREY, 0.2, strength=0.4))),
    "LS": Finding(rate=0.03, change=_marked(_laser(60))),
    "MS": Finding(rate=0.02, change=_marked(_spot(_PALE, 0.13, sharp=True))),
    "CSR": Finding(rate=0.03, change=_marked(_spot(_YELLOW, 0.22, strength=0.3))),
    "ODC": Finding(rate=0.14, change=_marked(cup=0.8)),
    "CRVO": Finding(rate=0.02, change=_marked(_spot(_RED, 0.03, (0.3, 0.0), count=110, spread=0.42), swelling=0.4)),
    "TV": Finding(rate=0.02, change=_wound),
    "AH": Finding(rate=0.02, change=_marked(_spot((1.0, 1.0, 0.9), 0.014, count=120, spread=0.5, sharp=True))),
    "ODP": Finding(rate=0.04, change=_marked(pallor=1.0)),
    "ODE": Finding(rate=0.03, change=_marked(swelling=1.0)),
    "ST": Finding(rate=0.01, change=_marked(_spot(_GREY, 0.05, (0.6, -0.3), count=8, spread=0.06, strength=0.5))),
    "AION": Finding(rate=0.01, change=_marked(swelling=0.7, pallor=0.8)),
    "PT": Finding(rate=0.01, change=_marked(_spot(_GREY, 0.02, count=20, spread=0.1))),
    "RT": Finding(rate=0.01, change=_marked(_spot((0.8, 0.75, 0.65), 0.16, (0.0, 0.7), count=3, spread=0.15))),
    "RS": Finding(rate=0.03, change=_marked(_spot(_PALE, 0.1, (0.3, 0.45), count=2, spread=0.1, sharp=True))),
    "CRS": Finding(rate=0.02, change=_marked(_spot(_DARK, 0.06, (0.1, 0.4), count=5, spread=0.12, sharp=True))),
    "EDN": Finding(rate=0.02, change=_marked(exudates(45))),
    "RPEC": Finding(rate=0.02, change=_marked(_spot(_DARK, 0.02, count=25, spread=0.14))),
    "MHL": Finding(rate=0.01, change=_marked(_spot(_RED, 0.06, sharp=True, strength=0.9))),
    "RP": Finding(rate=0.01, change=_marked(_spot(_DARK, 0.02, (0.3, 0.0), count=150, spread=0.75, sharp=True))),
    "CWS": Finding(rate=0.01, change=_marked(_spot(_PALE, 0.05, (0.35, 0.0), count=9, spread=0.3))),
    "CB": Finding(rate=0.01, change=_marked(_spot(_PALE, 0.32, (0.45, 0.65), sharp=True, strength=0.95))),
    "ODPM": Finding(rate=0.01, change=_marked(_spot(_GREY, 0.05, (0.56, -0.09), sharp=True))),
    "PRH": Finding(rate=0.01, change=_marked(_spot(_RED, 0.16, (0.1, 0.35), sharp=True, strength=0.95))),
    "MNF": Finding(rate=0.01, change=_marked(_spot(_PALE, 0.06, (0.62, 0.05), count=6, spread=0.1))),
    "HR": Finding(rate=0.01, change=_marked(haemorrhages(4), swelling=0.4)),
    "CRAO": Finding(rate=0.01, change=_marked(_spot(_PALE, 0.5, strength=0.5), _spot(_RED, 0.05))),
    "TD": Finding(rate=0.01, change=_marked(disc=0.2, atrophy=1.35)),
    "CME": Finding(rate=0.01, change=_marked(_spot(_YELLOW, 0.04, count=7, spread=0.05, strength=0.5))),
    "PTCR": Finding(rate=0.01, change=_marked(_spot(_GREY, 0.1, (0.05, 0.2), count=3, spread=0.05))),
    "CF": Finding(rate=0.01, change=_marked(_spot((0.75, 0.5, 0.3), 0.03, (0.2, 0.0), count=14, spread=0.2))),
    "VH": Finding(rate=0.01, change=_marked(_spot(_RED, 0.4, (0.2, 0.4), strength=0.6), haze=0.5)),
    "MCA": Finding(rate=0.01, change=_marked(_spot(_RED, 0.035, (0.3, -0.4), sharp=True))),
    "VS": Finding(rate=0.01, change=_thinned),
    "BRAO": Finding(rate=0.01, change=_marked(_spot(_PALE, 0.3, (0.0, -0.4), strength=0.5))),
    "PLQ": Finding(rate=0.01, change=_marked(_spot(_YELLOW, 0.02, (0.5, -0.2), count=4, spread=0.05, sharp=True))),
    "HPED": Finding(rate=0.01, change=_marked(_spot((0.55, 0.12, 0.08), 0.14))),
    "CL": Finding(rate=0.01, change=_marked(_spot((0.85, 0.6, 0.3), 0.28, (0.1, -0.5), strength=0.5))),
}


def draw_findings(random: np.random.Generator) -> list[str]:
    """Return the findings of one eye: none for about a fifth of the eyes."""
    if random.random() < 0.12:
        return []
    return [name for name, finding in FINDINGS.items() if random.random() < finding.rate]
