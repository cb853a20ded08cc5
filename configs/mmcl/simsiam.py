"""SimSiam (Chen and He, CVPR 2021) as MMCL's baseline: a projector with one hidden layer, not two."""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    if not base.small:
        base = dataclasses.replace(base, learning_rate=3e-5 if data == "dvm" else 3e-4, weight_decay=1.5e-6)
    width, narrow = (128, 32) if base.small else (2048, 512)
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp_norm", hidden=(width,), out=width, out_bias=True)}
    config.predictors = {"image": projector("mlp_norm", hidden=(narrow,), out=width, out_bias=True)}
    config.objective = (term("simsiam", between=("image_1", "image_2")),)
    return config
