"""The terms, the all-pairs kernel under them, and how a config becomes an objective."""

from mmcl_jax.objectives import agreement, barlow_twins, clip, nnclr, nt_xent, siglip, supervised, vicreg, vime
from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.collapse import COLLAPSED
from mmcl_jax.objectives.objective import Memory, Objective, Outputs, build_objective
from mmcl_jax.objectives.pairs import Execution

__all__ = [
    "COLLAPSED",
    "TERMS",
    "Execution",
    "Memory",
    "Objective",
    "Outputs",
    "Term",
    "agreement",
    "barlow_twins",
    "build_objective",
    "clip",
    "nnclr",
    "nt_xent",
    "siglip",
    "supervised",
    "vicreg",
    "vime",
]
