"""PixelPro as LoVT's released code runs it: the pixel layer is the pooled feature, a map of one position.

So the pixel term is a second instance term, with a linear predictor, and its numbers say little about PixPro
(`lovt/pixelpro`).
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    return chest(data).pixelpro(local=False)
