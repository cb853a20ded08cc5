"""Configs: the definition, loading and overriding of experiments.

An experiment is a file with a function `get_config()`; `configs/` has the shipped experiments. The resolved config has
every option of every encoder, view, term and optimizer, since the signatures of their factories complete it (see
`registry`).
"""

from mmcl_jax.config.data import Data, DataWithClasses, data_names, preset
from mmcl_jax.config.experiment import (
    decoder,
    encoder,
    experiment,
    input,
    optimizer,
    projector,
    sampler,
    schedule,
    term,
    view,
)
from mmcl_jax.config.load import alias, apply, experiments, load, shipped
from mmcl_jax.config.own import explain
from mmcl_jax.config.own_data import OwnData
from mmcl_jax.config.preset import Preset
from mmcl_jax.config.systems.chest import CHEXPERT_LABELS, Chest, ChestData, chest
from mmcl_jax.config.systems.retina import RetinaData, retina
from mmcl_jax.config.systems.taxonomy import Taxonomy, TaxonomyData, edges, is_union, taxonomy, union_of, unions

__all__ = [
    "CHEXPERT_LABELS",
    "Chest",
    "ChestData",
    "Data",
    "DataWithClasses",
    "OwnData",
    "Preset",
    "RetinaData",
    "Taxonomy",
    "TaxonomyData",
    "alias",
    "apply",
    "chest",
    "data_names",
    "decoder",
    "edges",
    "encoder",
    "experiment",
    "experiments",
    "explain",
    "input",
    "is_union",
    "load",
    "optimizer",
    "preset",
    "projector",
    "retina",
    "sampler",
    "schedule",
    "shipped",
    "taxonomy",
    "term",
    "union_of",
    "unions",
    "view",
]
