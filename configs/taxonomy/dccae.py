"""DCCAE, a rival of the taxonomy (Fedorov et al.): autoencoders whose features correlate."""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data).for_correlations()
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = (*base.reconstructions(), *base.correlations())
    return config
