"""ContIG (Taleb et al., CVPR 2022) with raw variants: an image of an eye against the thinned genotypes of its person.

The data are "ukb" (UK Biobank, the published values) and "fundus" (drawn eyes, `mmcl generate fundus`). The encoder of
the genotypes is the paper's H1; `--config.encoders.snp.layers=0` and `2` are its `None` and `H12`.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data)
    config = base.experiment()
    config.inputs = base.inputs("snp")
    config.views = base.views("snp")
    config.encoders = base.encoders("snp")
    config.projectors = base.projectors("snp")
    config.objective = base.contrast("snp")
    return config
