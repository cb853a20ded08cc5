"""NNCLR (Dwibedi et al., ICCV 2021) as ContIG's baseline: a queue of 65,536, two layers of projector, 128 dimensions.

In the released code the negatives are a second queue that is never filled, so that they are random vectors and nothing
repels; here they are the predictions of the batch, as in NNCLR's paper.
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
    config.projectors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_norm=True)}
    config.predictors = {"image": projector("mlp_norm", hidden=(hidden,), out=out, out_bias=True)}
    config.objective = (term("nnclr", between=("image_1", "image_2"), temperature=0.1, queue=base.queue),)
    return config
