"""Procedural data in the on-disk format of data sets that cannot be shipped, with a known truth."""

from mmcl_jax.data.generators.cars import generate_dvm
from mmcl_jax.data.generators.hearts import generate_cardiac
from mmcl_jax.registry import Registry

__all__ = ["GENERATORS"]

GENERATORS = Registry("generator")
GENERATORS.register("dvm")(generate_dvm)
GENERATORS.register("cardiac")(generate_cardiac)
