"""Barlow Twins (Zbontar et al., ICML 2021) as MMCL's baseline: a projector with one hidden layer, its paper has two."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, is_small, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/simclr", data=data)
    config.name = "barlow_twins"
    width = 256 if is_small(data) else 8192
    config.projectors.image = projector("mlp_norm", hidden=(width,), out=width)
    config.objective = (term("barlow_twins", between=("image_1", "image_2"), redundancy=0.005),)
    if data == "dvm":
        config.schedule.learning_rate = 3e-3
        config.optimizer.weight_decay = 1e-4
    return config
