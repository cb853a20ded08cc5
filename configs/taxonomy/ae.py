"""AE, a rival of the taxonomy (Fedorov et al.): an autoencoder of each modality, which share nothing."""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = base.reconstructions()
    return config
