"""Supervised training of the table encoder.

Trained with labels from the start, by every epoch of its budget; `mmcl evaluate --protocol finetune` stops early.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, schedule, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "supervised_table"
    del config.inputs.image, config.encoders.image, config.views.image
    del config.projectors
    config.projectors = ConfigDict()
    config.views.table = view("rows")
    config.objective = (term("supervised", between=("table",)),)
    config.optimizer.weight_decay = 0.0
    config.schedule = schedule("constant", learning_rate=3e-4 if data == "dvm" else 3e-3)
    return config
