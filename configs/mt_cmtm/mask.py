"""MT-CMTM's masked modelling alone: the table encoder learns without images; see `mt_cmtm/mt_cmtm`."""

from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, preset, schedule, term, view


def get_config(data: Literal["dvm", "digits", "cars", "membranes"] | OwnData = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"table": base.table_input(missing="token")}
    config.views = {"table": view("mask", rate=0.3, count="bernoulli", fill="marginal")}
    config.encoders = {"table": base.table_resnet()}
    config.objective = (
        term(
            "masked_table",
            between=("table",),
            numbers="l1",
            categories="l1",
            over="own",
            head="pooled",
            average="entries",
        ),
    )
    config.schedule = schedule("one_cycle", learning_rate=1e-2)
    return config
