"""Samplers: which rows an epoch has, and in which order. One file each."""

from mmcl_jax.data.samplers import balanced, one_per_group, shuffle
from mmcl_jax.data.samplers.base import SAMPLERS, Sampler, Targets

__all__ = ["SAMPLERS", "Sampler", "Targets", "balanced", "one_per_group", "shuffle"]
