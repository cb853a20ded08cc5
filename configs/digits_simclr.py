"""SimCLR on the shipped digits, the rival of `digits_mmcl`: `mmcl/simclr:digits` by its name in the quickstart."""

from mmcl_jax.config import alias

get_config = alias("mmcl/simclr:digits")
