"""The terms, the all-pairs kernel that they use (`pairs`), and the objective that a config makes of them.

A term needs no config: `clip(temperature=0.1)(images, tables)` is a loss.
"""

from mmcl_jax.objectives import pairs
from mmcl_jax.objectives.base import TERMS, Term
from mmcl_jax.objectives.collapse import COLLAPSED
from mmcl_jax.objectives.objective import Objective, Outputs, Queues, build_objective
from mmcl_jax.objectives.pairs import Execution
from mmcl_jax.objectives.reads import Read
from mmcl_jax.objectives.stages import Each, EachPair, Layer, LayerInput, Loss, Whole, linear_layer
from mmcl_jax.objectives.terms import *  # noqa: F403

__all__ = [
    "COLLAPSED",
    "TERMS",
    "Each",
    "EachPair",
    "Execution",
    "Layer",
    "LayerInput",
    "Loss",
    "Objective",
    "Outputs",
    "Queues",
    "Read",
    "Term",
    "Whole",
    "build_objective",
    "linear_layer",
    "pairs",
]
