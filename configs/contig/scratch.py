"""Supervised training of the image encoder from scratch, ContIG's first baseline, at the rates of its fine-tuning.

It trains with labels for all epochs of the budget; `mmcl evaluate --protocol finetune` has the same baseline, stops
early, and takes all the heads that the tasks on eyes need.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina, schedule, term


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = dataclasses.replace(retina(data), weight_decay=1e-5)
    if not base.small:
        base = dataclasses.replace(base, epochs=50)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.views.image.rotation = 0.0
    config.encoders = base.encoders()
    config.objective = (term("supervised", between=("image",)),)
    config.schedule = schedule("constant", learning_rate=1e-3)
    return config
