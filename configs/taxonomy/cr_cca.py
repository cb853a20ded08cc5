"""CR-CCA, a hybrid of the taxonomy (Fedorov et al.): local and pooled features agree, and pooled ones correlate."""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base, edges = taxonomy(data).for_correlations(), taxonomy(data).edges("CR")
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = (*edges, *base.correlations())
    config.projectors = base.projectors(edges)
    return config
