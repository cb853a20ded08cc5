"""SimCLR (Chen et al., ICML 2020) on the images alone: MMCL's image encoder, augmentation and budget, two views."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": base.projector()}
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    return config
