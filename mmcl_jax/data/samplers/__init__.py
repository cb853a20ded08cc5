"""Samplers, one file each: they choose and order the rows of every epoch.

Importing a sampler registers it: a new sampler is a new file and an import below.
"""

from mmcl_jax.data.samplers.balanced import Balanced as Balanced
from mmcl_jax.data.samplers.base import SAMPLERS, Sampler, Targets
from mmcl_jax.data.samplers.one_per_group import OnePerGroup as OnePerGroup
from mmcl_jax.data.samplers.shuffle import Shuffle as Shuffle

__all__ = ["SAMPLERS", "Sampler", "Targets"]
