"""BYOL (Grill et al., NeurIPS 2020) as MMCL's baseline: projector and predictor with a hidden layer of 4096.

On the small data sets the EMA decay starts at 0.99: at 0.9996 the target would hardly change in a few hundred steps.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    if not base.small:
        base = dataclasses.replace(base, learning_rate=3e-4, weight_decay=1.5e-6)
    hidden, out = (128, 64) if base.small else (4096, 256)
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_bias=True)}
    config.predictors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_bias=True)}
    config.objective = (term("byol", between=("image_1", "image_2")),)
    config.target.decay = 0.99 if base.small else 0.9996
    return config
