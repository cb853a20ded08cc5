"""BYOL (Grill et al., NeurIPS 2020) as MMCL's baseline: projector and predictor with a hidden layer of 4096.

On the small sets the target starts at 0.99, since 0.9996 would hardly move it in their few hundred steps.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, is_small, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/simclr", data=data)
    config.name = "byol"
    small = is_small(data)
    sizes = {"hidden": (128,), "out": 64} if small else {"hidden": (4096,), "out": 256}
    config.projectors.image = projector("mlp_norm", **sizes, out_bias=True)
    config.predictors.image = projector("mlp_norm", **sizes, out_bias=True)
    config.objective = (term("byol", between=("image_1", "image_2")),)
    config.target.decay = 0.99 if small else 0.9996
    if not small:
        config.schedule.learning_rate = 3e-4
        config.optimizer.weight_decay = 1.5e-6
    return config
