"""Procedural data in the on-disk format of data sets that cannot be shipped, with a known truth."""

from mmcl_jax.registry import Registry
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.synthetic.hearts.generator import generate_cardiac

__all__ = ["GENERATORS"]

GENERATORS = Registry("generator")
GENERATORS.register("dvm")(generate_dvm)
GENERATORS.register("cardiac")(generate_cardiac)
