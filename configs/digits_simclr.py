"""SimCLR on the shipped digits, to compare with `digits_mmcl`: the quickstart's name of `mmcl/simclr:digits`."""

from mmcl_jax.config import alias

get_config = alias("mmcl/simclr:digits")
