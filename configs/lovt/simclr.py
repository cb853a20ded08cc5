"""SimCLR (Chen et al., ICML 2020) as LoVT's baseline on images alone: 128 dimensions, temperature 0.1, batches of 128.

The projector's hidden layer is as wide as the features, the default of the library behind the released code; the
supplement says 4096, which is `--config.projectors.image.hidden=4096`.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, input, projector, term


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data).image_only(batch_size=128, learning_rate=3e-4, weight_decay=1e-4)
    config = base.cosine(warmup_epochs=1)
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("mlp", hidden=base.hidden, out=128)}
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    return config
