"""The terms, the all-pairs kernel under them, and how a config becomes an objective."""

from mmcl_jax.objectives import clip, nt_xent
from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.objective import Objective, build_objective

__all__ = ["TERMS", "Objective", "Term", "build_objective", "clip", "nt_xent"]
