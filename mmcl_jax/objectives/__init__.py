"""The terms, the all-pairs kernel under them, and how a config becomes an objective."""

from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.collapse import COLLAPSED
from mmcl_jax.objectives.objective import Memory, Objective, Outputs, build_objective
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, EachPair, Layer, LayerInput, Loss, Whole, linear_layer
from mmcl_jax.objectives.terms import (
    agreement,
    barlow_twins,
    clip,
    local_alignment,
    matching,
    nnclr,
    nt_xent,
    siglip,
    supervised,
    vicreg,
    vime,
)

__all__ = [
    "COLLAPSED",
    "TERMS",
    "Each",
    "EachPair",
    "Execution",
    "Layer",
    "LayerInput",
    "Loss",
    "Memory",
    "Objective",
    "Outputs",
    "Read",
    "Term",
    "Whole",
    "agreement",
    "barlow_twins",
    "build_objective",
    "clip",
    "linear_layer",
    "local_alignment",
    "matching",
    "nnclr",
    "nt_xent",
    "siglip",
    "supervised",
    "vicreg",
    "vime",
]
