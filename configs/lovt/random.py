"""The image encoder at random initial weights, LoVT's first baseline: no step is trained, and the run has step 0."""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    return chest(data).untrained()
