"""BYOL (Grill et al., NeurIPS 2020) as ContIG's baseline: a hidden layer of 2048, 128 dimensions, an EMA of 0.9.

0.9 is the default of the library behind the released code, where it stays; here it rises to 1 during the training.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, projector, retina, term


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data).baseline()
    hidden, out = (128, 64) if base.small else (2048, 128)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.augment_twice()
    config.encoders = base.encoders()
    config.projectors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_bias=True)}
    config.predictors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_bias=True)}
    config.objective = (term("byol", between=("image_1", "image_2")),)
    config.target.decay = 0.9
    return config
