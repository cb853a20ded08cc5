"""MMCL with supervised contrast (SupCon): all samples of the class attract, in both directions."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "supcon"
    # Healthy people have nothing in common that the others lack.
    background = 0 if data == "cardiac" else None
    config.objective = (
        term("clip", between=("image", "table"), temperature=0.1, labels="attract", background=background),
    )
    return config
