"""Barlow Twins (Zbontar et al., ICML 2021) as ContIG's baseline: two layers of projector, and 128 dimensions."""

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
    config.objective = (term("barlow_twins", between=("image_1", "image_2"), redundancy=0.005),)
    return config
