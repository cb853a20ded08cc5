"""SCARF (Bahri et al., ICLR 2022) on the table alone: a row and its corruption (60 %) attract, temperature 1.

As MMCL's successors run it, with a width of 512. (MMCL's shared defaults would be 30 % and temperature 0.1.)
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, encoder, is_small, load, projector, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "scarf"
    del config.inputs.image, config.encoders.image, config.projectors.image, config.views.image
    if not is_small(data):
        config.encoders.table = encoder("table_mlp", hidden=512, features=512)
    if not is_small(data):
        config.projectors.table = projector("mlp", hidden=512, out=128)
    config.views = ConfigDict({"table_1": view("rows"), "table_2": view("scarf", rate=0.6)})
    config.objective = (term("nt_xent", between=("table_1", "table_2"), temperature=1.0),)
    return config
