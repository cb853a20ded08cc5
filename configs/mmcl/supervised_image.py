"""Supervised training of the image encoder: MMCL's first baseline.

Trained with labels from the start, by every epoch of its budget; `mmcl evaluate --protocol finetune` stops early.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, schedule, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "supervised_image"
    del config.inputs.table, config.encoders.table, config.views.table
    del config.projectors
    config.projectors = ConfigDict()
    config.views.image.probability = 0.8
    config.views.image.crop_scale = (0.6, 1.0)
    config.objective = (term("supervised", between=("image",)),)
    config.optimizer.weight_decay = 0.0
    config.schedule = schedule("constant", learning_rate=3e-4 if data == "dvm" else 3e-3)
    return config
