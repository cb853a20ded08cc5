"""Supervised training of MT-CMTM's table encoder from scratch, with which MT-CMTM is compared; see `mt_cmtm/mt_cmtm`.

It trains with labels for all epochs of the budget; `mmcl evaluate --protocol finetune` stops early.
"""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, preset, schedule, term, view


def get_config(data: Literal["dvm", "digits", "cars", "membranes"] | OwnData = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = dataclasses.replace(preset(data), weight_decay=0.0)
    config = base.experiment()
    config.inputs = {"table": base.table_input(missing="token")}
    config.views = {"table": view("rows")}
    config.encoders = {"table": base.table_resnet()}
    config.objective = (term("supervised", between=("table",)),)
    config.schedule = schedule("one_cycle", learning_rate=1e-2)
    return config
