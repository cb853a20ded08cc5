"""ContIG (Taleb et al., CVPR 2022) with polygenic scores: an image of an eye against the scores of its person.

The best of the paper's in most of its tables. The data are "ukb" (UK Biobank, the published values) and "fundus" (drawn
eyes, `mmcl generate fundus`). The encoder of the scores is the paper's H1; `--config.encoders.pgs.layers=0` and `2` are
its `None` and `H12`.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data)
    config = base.experiment()
    config.inputs = base.inputs("pgs")
    config.views = base.views("pgs")
    config.encoders = base.encoders("pgs")
    config.projectors = base.projectors("pgs")
    config.objective = base.contrast("pgs")
    return config
