"""Procedural data sets, in the file formats of data sets that cannot be shipped, with the truth about every row."""

from mmcl_jax.registry import Registry
from mmcl_jax.synthetic.cars.generator import generate_dvm
from mmcl_jax.synthetic.chests.generator import generate_chest
from mmcl_jax.synthetic.eyes.generator import generate_fundus
from mmcl_jax.synthetic.heads.generator import generate_oasis
from mmcl_jax.synthetic.hearts.generator import generate_cardiac
from mmcl_jax.synthetic.membranes.generator import generate_membranes

__all__ = ["GENERATORS", "READERS"]

GENERATORS = Registry("generator")
GENERATORS.register("dvm")(generate_dvm)
GENERATORS.register("cardiac")(generate_cardiac)
GENERATORS.register("membranes")(generate_membranes)
GENERATORS.register("fundus")(generate_fundus)
GENERATORS.register("oasis")(generate_oasis)
GENERATORS.register("chest")(generate_chest)

# The recipe that reads what a generator writes, and the folder below `--out` that it reads, where these are not the
# generator's name and `--out` itself.
READERS = {"chest": ("mimic_cxr", "mimic")}
