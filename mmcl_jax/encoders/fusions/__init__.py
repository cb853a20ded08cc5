"""Fusions: encoders whose inputs are the features of other encoders."""

from mmcl_jax.encoders.fusions.fused import (
    Fused,
    check_fused,
    inputs_of,
    needed_inputs,
    needed_of_views,
    parts_of_views,
)
from mmcl_jax.encoders.fusions.fusion import Fusion, Part, Parts, part_of

__all__ = [
    "Fused",
    "Fusion",
    "Part",
    "Parts",
    "check_fused",
    "inputs_of",
    "needed_inputs",
    "needed_of_views",
    "part_of",
    "parts_of_views",
]
