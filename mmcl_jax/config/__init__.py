"""Configs: how an experiment is written down, loaded, overridden and kept.

An experiment is a file with a function `get_config()`; see `configs/` for the shipped ones. Every option of every
encoder, view, term and optimizer is in the resolved config, because their factories' signatures fill it (`registry`).
"""

from mmcl_jax.config.data import Data
from mmcl_jax.config.experiment import encoder, experiment, optimizer, projector, schedule, term, view
from mmcl_jax.config.load import experiments, load, shipped

__all__ = [
    "Data",
    "encoder",
    "experiment",
    "experiments",
    "load",
    "optimizer",
    "projector",
    "schedule",
    "shipped",
    "term",
    "view",
]
