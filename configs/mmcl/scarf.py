"""SCARF (Bahri et al., ICLR 2022) on the table alone: a row and its corruption (60 %) attract, temperature 1.

These are the values of MMCL's successors, with a width of 512. (MMCL's own defaults are 30 % and temperature 0.1.)
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, encoder, preset, projector, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"table": base.table_input()}
    config.views = {"table_1": view("rows"), "table_2": view("scarf", rate=0.6)}
    if base.small:
        config.encoders = {"table": base.table_encoder()}
        config.projectors = {"table": base.projector()}
    else:
        config.encoders = {"table": encoder("table_mlp", hidden=512, features=512)}
        config.projectors = {"table": projector("mlp", hidden=512, out=128)}
    config.objective = (term("nt_xent", between=("table_1", "table_2"), temperature=1.0),)
    return config
