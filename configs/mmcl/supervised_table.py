"""Supervised training of the table encoder.

It trains with labels for all epochs of the budget; `mmcl evaluate --protocol finetune` stops early.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import Data, preset, schedule, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = dataclasses.replace(preset(data), weight_decay=0.0)
    config = base.experiment()
    config.inputs = {"table": base.table_input()}
    config.views = {"table": view("rows")}
    config.encoders = {"table": base.table_encoder()}
    config.objective = (term("supervised", between=("table",)),)
    config.schedule = schedule("constant", learning_rate=3e-4 if data == "dvm" else 3e-3)
    return config
