"""VIME (Yoon et al., NeurIPS 2020), its self-supervised part, on the table alone: 60 % of the columns are corrupted."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, encoder, load, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """The experiment."""
    config = load(f"mmcl/mmcl:{data}")
    config.name = "vime"
    del config.encoders.image, config.projectors.image, config.views.image
    if data in ("dvm", "cardiac"):
        config.encoders.table = encoder("table_mlp", hidden=512, features=512)
    del config.projectors.table
    config.views = ConfigDict({"table": view("scarf", rate=0.6)})
    config.objective = (term("vime", between=("table",)),)
    return config
