"""TIP's encoders and fusion (see `tip/tip`), trained with labels from scratch.

The rates are those of TIP's fine-tuning. It trains for all epochs of the budget; `mmcl evaluate --protocol finetune`
stops early.
"""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import input, preset, schedule, term, view


def get_config(data: Literal["dvm", "cardiac", "digits", "cars"] = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = dataclasses.replace(preset(data), weight_decay=0.0)
    if not base.small:
        base = dataclasses.replace(base, batch_size=256 if data == "dvm" else 128)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input(missing="token")}
    config.views = {
        "image": base.augment(probability=0.8, crop_scale=(0.6, 1.0)),
        "table": view("rows"),
        "fused": view("fused", of=("image.local", "table.local"), absent="mask"),
    }
    config.encoders = {
        "image": base.image_encoder(),
        "table": base.table_transformer(),
        "fusion": base.interaction(),
    }
    config.objective = (term("supervised", between=("fused",)),)
    config.schedule = schedule("constant", learning_rate=1e-4 if data == "dvm" else 1e-3)
    return config
