"""SimSiam (Chen and He, CVPR 2021) as MMCL's baseline: a projector with one hidden layer, where its paper has two."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, is_small, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/simclr", data=data)
    config.name = "simsiam"
    small = is_small(data)
    width, narrow = (128, 32) if small else (2048, 512)
    config.projectors.image = projector("mlp_norm", hidden=(width,), out=width, out_bias=True)
    config.predictors.image = projector("mlp_norm", hidden=(narrow,), out=width, out_bias=True)
    config.objective = (term("simsiam", between=("image_1", "image_2")),)
    if not small:
        config.schedule.learning_rate = 3e-5 if data == "dvm" else 3e-4
        config.optimizer.weight_decay = 1.5e-6
    return config
