"""ContIG (Taleb et al., CVPR 2022) with all three genetic vectors, of people who have all of them.

An image is contrasted with raw variants, polygenic scores and gene burdens; people who lack one are left out.

The data are "ukb" (UK Biobank, the published values) and "fundus" (drawn eyes, `mmcl generate fundus`). The loss is the
mean of the three terms, each of weight 1/3, also where a batch has nobody with one of the vectors, as in the released
code; `--config.normalise_terms=present` divides by the weights of the others alone, and weights of 1 are the paper's
sum.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base, names = retina(data), ("snp", "pgs", "burden")
    config = base.experiment()
    config.inputs = base.inputs(*names)
    config.cohort = "inner"
    config.views = base.views(*names)
    config.encoders = base.encoders(*names)
    config.projectors = base.projectors(*names)
    config.objective = base.contrast(*names)
    return config
