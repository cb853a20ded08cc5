"""VICReg (Bardes et al., ICLR 2022), with the expander of its paper; not in MMCL's paper."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    width = 256 if base.small else 8192
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp_norm", hidden=(width, width), out=width)}
    config.objective = (term("vicreg", between=("image_1", "image_2")),)
    return config
