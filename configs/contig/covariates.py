"""ContIG's check of its explanations: covariates in place of genetics, with five columns of noise beside them.

The covariates (46 in the paper: sex, age, blood pressures, smoking, body mass index, 40 genetic components) are the
vector `covariates`. The noise is uniform and drawn anew at every step, so that an explanation must find next to nothing
in its columns. There is no encoder before the projector, as in the released code.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina, view


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data)
    config = base.experiment()
    config.inputs = base.inputs("covariates")
    config.views = base.views()
    config.views.covariates = view("vector_noise", modality="covariates", noise=5)
    config.encoders = base.encoders("covariates", layers=0)
    config.projectors = base.projectors("covariates")
    config.objective = base.contrast("covariates")
    return config
