"""MMCL with false-negative elimination: other samples of the class are left out of the denominator."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "fn_elimination"
    # Healthy people have nothing in common that the others lack.
    background = 0 if data == "cardiac" else None
    config.objective = (
        term("clip", between=("image", "table"), temperature=0.1, labels="eliminate", background=background),
    )
    return config
