"""SupCon and the label as a feature: the best of the paper's table 3 on DVM."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "supcon_laaf"
    # Healthy people have nothing in common that the others lack.
    background = 0 if data == "cardiac" else None
    config.objective = (
        term("clip", between=("image", "table"), temperature=0.1, labels="attract", background=background),
    )
    config.inputs.table.label_as_feature = True
    return config
