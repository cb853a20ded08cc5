"""Samplers: which rows an epoch has, and in which order. One file each.

The import of a sampler registers it: a new sampler is a file here and a line in this list.
"""

from mmcl_jax.data.samplers.balanced import Balanced as Balanced
from mmcl_jax.data.samplers.base import SAMPLERS, Sampler, Targets
from mmcl_jax.data.samplers.one_per_group import OnePerGroup as OnePerGroup
from mmcl_jax.data.samplers.shuffle import Shuffle as Shuffle

__all__ = ["SAMPLERS", "Sampler", "Targets"]
