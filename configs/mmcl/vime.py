"""VIME (Yoon et al., NeurIPS 2020), its self-supervised part, on the table alone: 60 % of the columns are corrupted."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, encoder, preset, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"table": base.table_input()}
    config.views = {"table": view("scarf", rate=0.6)}
    wide = encoder("table_mlp", hidden=512, features=512)
    config.encoders = {"table": base.table_encoder() if base.small else wide}
    config.objective = (term("vime", between=("table",)),)
    return config
