"""VICReg (Bardes et al., ICLR 2022), with the expander of its paper; not in MMCL's paper."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """The experiment."""
    config = load(f"mmcl/simclr:{data}")
    config.name = "vicreg"
    width = 256 if data in ("digits", "cars") else 8192
    config.projectors.image = projector("mlp_norm", hidden=(width, width), out=width)
    config.objective = (term("vicreg", between=("image_1", "image_2")),)
    return config
