"""Barlow Twins (Zbontar et al., ICML 2021) as MMCL's baseline: a projector with one hidden layer, not two."""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    if data == "dvm":
        base = dataclasses.replace(base, learning_rate=3e-3, weight_decay=1e-4)
    width = 256 if base.small else 8192
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp_norm", hidden=(width,), out=width)}
    config.objective = (term("barlow_twins", between=("image_1", "image_2"), redundancy=0.005),)
    return config
