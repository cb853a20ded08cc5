"""NNCLR (Dwibedi et al., ICCV 2021); ContIG's baseline, not in MMCL's paper. The queue is smaller than the split."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    hidden, wide, out = ((128,), 128, 64) if base.small else ((2048, 2048), 4096, 256)
    config.projectors = {"image": projector("mlp_norm", hidden=hidden, out=out)}
    config.predictors = {"image": projector("mlp_norm", hidden=(wide,), out=out, out_bias=True)}
    config.objective = (term("nnclr", between=("image_1", "image_2"), queue=base.queue),)
    return config
