"""Supervised training of both encoders, on their features side by side (MMCL's `imaging_and_tabular`).

It trains with labels for all epochs of the budget; `mmcl evaluate --protocol finetune` stops early.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, schedule, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = dataclasses.replace(preset(data), weight_decay=0.0)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input()}
    config.views = {"image": base.augment(probability=0.8, crop_scale=(0.6, 1.0)), "table": view("rows")}
    config.encoders = {"image": base.image_encoder(), "table": base.table_encoder()}
    config.objective = (term("supervised", between=("image", "table")),)
    config.schedule = schedule("constant", learning_rate=3e-4 if data == "dvm" else 3e-3)
    return config
