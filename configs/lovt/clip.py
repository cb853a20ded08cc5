"""CLIP (Radford et al., ICML 2021) as LoVT's baseline modifies it: the global term with one random sentence.

The image is pooled by attention, and the report by its maximum; optimizer, schedule and slices of negatives are LoVT's.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data)
    config = base.experiment()
    config.inputs = base.inputs()
    config.cohort = "inner"
    config.views = base.views(sentences="one")
    config.encoders = base.encoders(report="maximum")
    config.projectors = base.project("image", "report")
    config.objective = (base.contrast(), *base.probes("image", "report"))
    return config
