"""The structure of a membrane, which its process leads to with some luck, and the water that it lets through."""

import dataclasses
import math

import numpy as np

from mmcl_jax.synthetic.membranes.process import BATHS, POLYMERS, SOLVENTS, Process


@dataclasses.dataclass(frozen=True, kw_only=True)
class Structure:
    """What an electron micrograph of a section through the membrane shows.

    Attributes:
      fingers: the share of the section that finger-like voids cross, 0 to 1; without them it is a sponge.
      skin_um: thickness of the dense skin.
      pore_nm: radius of the pores in the skin; the pores of the sponge below grow with it.
      porosity: the share of pores in the sponge.
      thickness_um: of the whole membrane.
    """

    fingers: float
    skin_um: float
    pore_nm: float
    porosity: float
    thickness_um: float

    @classmethod
    def of(cls, process: Process, random: np.random.Generator) -> "Structure":
        """Return the structure of a membrane.

        Fast exchange of solvent and water makes fingers and a thin skin, slow exchange makes a sponge. Moist air opens
        the pores of a film that is exposed to it, dry and warm air thickens its skin. Polyvinylpyrrolidone speeds the
        exchange up in small amounts and, as the solution thickens, slows it down in large ones. What no column tells,
        such as the age of the solution, shifts everything.
        """
        p, luck = process, random.normal(size=5)
        amount = p.additive_wt_percent
        additive = {"none": 0.0, "PVP": 0.75 * amount - 0.085 * amount**2, "PEG": -0.08 * amount, "LiCl": -0.7 * amount}
        exchange = (
            0.3
            + 1.2 * (SOLVENTS[p.solvent] + BATHS[p.bath])
            + POLYMERS[p.polymer] * (1 if p.solvent in ("NMP", "DMAc") else -0.6)  # who dissolves what
            - 0.22 * (p.polymer_wt_percent - 17)
            + 0.05 * (p.bath_temperature_c - 30) * (1 if p.bath == "water" else 0.3)
            + additive[p.additive]
            + 0.55 * luck[0]
        )
        exposure = math.tanh(p.air_exposure_s / 20)
        vapour = exposure * (p.humidity_percent - 50) / 25
        drying = exposure * (p.dope_temperature_c - 35) / 20
        fingers = 1 / (1 + math.exp(-exchange))
        pore = (
            0.22 * vapour
            - 0.02 * (p.polymer_wt_percent - 17)
            + (0.025 * amount if p.additive in ("PVP", "PEG") else 0.0)
            + 0.1 * luck[1]
        )
        skin = 0.25 * drying - 0.5 * (fingers - 0.5) + 0.02 * (p.polymer_wt_percent - 17) + 0.15 * luck[2]
        porosity = 0.3 + 0.6 * vapour - 0.12 * (p.polymer_wt_percent - 17) + 0.3 * luck[3]
        shrunk = 0.52 + 0.018 * (p.polymer_wt_percent - 17) - 0.012 * (p.speed_m_per_min - 6) + 0.03 * luck[4]
        return cls(
            fingers=fingers,
            skin_um=math.exp(math.log(0.3) + skin),
            pore_nm=math.exp(math.log(9) + pore),
            porosity=0.25 + 0.5 / (1 + math.exp(-porosity)),
            thickness_um=p.gap_um * shrunk,
        )

    @property
    def permeance(self) -> float:
        """The flux of water in L per m2, h and bar: the resistances of the skin and of the layer below add up."""
        skin = self.skin_um / (self.porosity * self.pore_nm**2)
        below = self.thickness_um * (1 - 0.8 * self.fingers) / (self.porosity * (25 * self.pore_nm**0.5) ** 2)
        return 1.0 / (skin + below)
