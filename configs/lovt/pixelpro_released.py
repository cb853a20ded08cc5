"""PixelPro as LoVT's released code runs it: the pixel layer is the pooled feature, a map of one position.

So the pixel term is a second instance term, with a linear predictor, and its numbers say little about PixPro
(`lovt/pixelpro`).
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
    config.projectors = {key: base.pixelpro_head() for key in ("image", "image:pixel")}
    config.predictors = {"image": base.pixelpro_head()}
    config.objective = base.pixelpro_terms(":pixel")
    return config
