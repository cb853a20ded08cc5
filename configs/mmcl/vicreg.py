"""VICReg (Bardes et al., ICLR 2022), with the expander of its paper; not in MMCL's paper."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, is_small, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/simclr", data=data)
    config.name = "vicreg"
    width = 256 if is_small(data) else 8192
    config.projectors.image = projector("mlp_norm", hidden=(width, width), out=width)
    config.objective = (term("vicreg", between=("image_1", "image_2")),)
    return config
