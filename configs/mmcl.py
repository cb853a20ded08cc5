"""MMCL with the hyper-parameters of its DVM runs: the short name of `mmcl/mmcl:dvm`."""

from mmcl_jax.config import alias

get_config = alias("mmcl/mmcl:dvm")
