"""SimCLR with the hyper-parameters of MMCL's DVM runs: the short name of `mmcl/simclr:dvm`."""

from mmcl_jax.config import alias

get_config = alias("mmcl/simclr:dvm")
