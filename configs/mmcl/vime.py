"""VIME (Yoon et al., NeurIPS 2020), its self-supervised part, on the table alone: 60 % of the columns are corrupted."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, encoder, is_small, load, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "vime"
    del config.inputs.image, config.encoders.image, config.projectors.image, config.views.image
    if not is_small(data):
        config.encoders.table = encoder("table_mlp", hidden=512, features=512)
    del config.projectors.table
    config.views = ConfigDict({"table": view("scarf", rate=0.6)})
    config.objective = (term("vime", between=("table",)),)
    return config
