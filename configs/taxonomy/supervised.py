"""Supervised encoders, a rival of the taxonomy (Fedorov et al.): each modality predicts the class by itself."""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, taxonomy, term


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data)
    if base.balanced:
        base = dataclasses.replace(base, balanced=base.label)  # nothing is learned of samples without the label
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = tuple(term("supervised", between=(name,), target=base.label) for name in base.modalities)
    return config
