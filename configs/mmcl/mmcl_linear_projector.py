"""MMCL with the table projector of its paper (section 4.2), a single layer; the released code has two."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, projector


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "mmcl_linear_projector"
    config.projectors.table = projector("linear", out=config.projectors.image.out)
    return config
