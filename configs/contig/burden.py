"""ContIG (Taleb et al., CVPR 2022) with gene burdens: an image of an eye against its person's rare variants by gene.

The data are "ukb" (UK Biobank, the published values) and "fundus" (drawn eyes, `mmcl generate fundus`). The encoder of
the burdens is the paper's H1; `--config.encoders.burden.layers=0` and `2` are its `None` and `H12`.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data)
    config = base.experiment()
    config.inputs = base.inputs("burden")
    config.views = base.views("burden")
    config.encoders = base.encoders("burden")
    config.projectors = base.projectors("burden")
    config.objective = base.contrast("burden")
    return config
