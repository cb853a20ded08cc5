"""MMCL with the sigmoid loss of SigLIP (Zhai et al., ICCV 2023) in place of the softmax; not in the paper."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "siglip"
    config.objective = (term("siglip", between=("image", "table")),)
    return config
