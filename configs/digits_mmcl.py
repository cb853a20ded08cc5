"""MMCL on the digits that ship with the package: `mmcl/mmcl:digits` by the name it has in the quickstart's results."""

from mmcl_jax.config import alias

get_config = alias("mmcl/mmcl:digits")
