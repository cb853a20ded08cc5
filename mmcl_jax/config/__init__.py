"""Configs: how an experiment is written down, loaded, overridden and kept.

An experiment is a file with a function `get_config()`; see `configs/` for the shipped ones. Every option of every
encoder, view, term and optimizer is in the resolved config, because their factories' signatures fill it (`registry`).
"""

from mmcl_jax.config.data import Data, data_names, is_small
from mmcl_jax.config.experiment import encoder, experiment, input, optimizer, projector, sampler, schedule, term, view
from mmcl_jax.config.load import apply, experiments, load, shipped
from mmcl_jax.config.own import choose, explain
from mmcl_jax.config.own_data import OwnData

__all__ = [
    "Data",
    "OwnData",
    "apply",
    "choose",
    "data_names",
    "encoder",
    "experiment",
    "experiments",
    "explain",
    "input",
    "is_small",
    "load",
    "optimizer",
    "projector",
    "sampler",
    "schedule",
    "shipped",
    "term",
    "view",
]
