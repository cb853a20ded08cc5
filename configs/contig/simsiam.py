"""SimSiam (Chen and He, CVPR 2021) as ContIG's baseline: a projector of two layers, not three, and 128 dimensions."""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, projector, retina, term


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data).baseline()
    hidden, narrow, out = (128, 32, 64) if base.small else (2048, 512, 128)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.augment_twice()
    config.encoders = base.encoders()
    config.projectors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_norm=True)}
    config.predictors = {"image": projector("mlp_norm", hidden=(narrow,), out=out, out_bias=True)}
    config.objective = (term("simsiam", between=("image_1", "image_2")),)
    return config
