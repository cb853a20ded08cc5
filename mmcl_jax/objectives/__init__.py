"""The terms, the all-pairs kernel under them, and how a config becomes an objective."""

from mmcl_jax.objectives import barlow_twins, clip, nt_xent, siglip, vicreg
from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.objective import Objective, build_objective
from mmcl_jax.objectives.pairs import Execution

__all__ = [
    "TERMS",
    "Execution",
    "Objective",
    "Term",
    "barlow_twins",
    "build_objective",
    "clip",
    "nt_xent",
    "siglip",
    "vicreg",
]
