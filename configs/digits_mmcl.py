"""MMCL on the shipped digits: another name of `mmcl/mmcl:digits`, which the quickstart's results use."""

from mmcl_jax.config import alias

get_config = alias("mmcl/mmcl:digits")
