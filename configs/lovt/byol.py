"""BYOL (Grill et al., NeurIPS 2020) as LoVT's baseline on images alone: a hidden layer of 4096, 128 dimensions.

The EMA begins at 0.99, where the released code leaves it; here it rises to 1 during the training.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, input, projector, term


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data).image_only(learning_rate=1e-4, weight_decay=1e-4, hidden=4096)
    options = {"hidden": (base.hidden,), "out": 128, "out_bias": True}
    config = base.cosine(warmup_epochs=1)
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp_norm", **options)}
    config.predictors = {"image": projector("mlp_norm", **options)}
    config.objective = (term("byol", between=("image_1", "image_2")),)
    config.target.decay = 0.99
    return config
