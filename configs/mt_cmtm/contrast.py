"""MT-CMTM's contrast alone: images teach the table encoder, and no cell is reconstructed; see `mt_cmtm/mt_cmtm`.

The row is corrupted as there.
"""

from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, input, preset, schedule, term, view


def get_config(data: Literal["dvm", "digits", "cars", "membranes"] | OwnData = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input(missing="token")}
    config.views = {
        "image": base.augment(),
        "table": view("mask", rate=0.3, count="bernoulli", fill="marginal"),
    }
    config.encoders = {"image": base.image_resnet18(), "table": base.table_resnet()}
    config.projectors = {"image": base.projector(), "table": base.projector()}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.schedule = schedule("one_cycle", learning_rate=1e-2)
    return config
