"""L-CCA, a rival of the taxonomy (Fedorov et al.): correlation of the encoders' features, as deep CCA.

The paper has it in a figure, and no code of it was released.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data).for_correlations()
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = base.correlations()
    return config
