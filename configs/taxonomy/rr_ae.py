"""RR-AE, a hybrid of the taxonomy (Fedorov et al.): autoencoders, and edges between their pooled features."""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base, edges = taxonomy(data), taxonomy(data).edges("RR")
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = (*base.reconstructions(), *edges)
    config.projectors = base.projectors(edges)
    return config
