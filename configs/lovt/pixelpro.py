"""PixelPro, that is PixPro (Xie et al., CVPR 2021), as LoVT's baseline on images alone, on real maps.

The pixel term compares positions of the last map whose centres are at most 0.7 of a position's diagonal apart, after
propagation with one layer and the exponent 2; beside it stands an instance term like BYOL's, both on 512 dimensions and
of one weight. The released code compares pooled features in place of maps: `lovt/pixelpro_released`.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, input


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data)
    config = base.pixelpro()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {key: base.pixelpro_head() for key in ("image", "image.local")}
    config.predictors = {"image": base.pixelpro_head()}
    config.objective = base.pixelpro_terms(".local")
    return config
