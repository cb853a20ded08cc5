"""MMCL with the label as a feature (LaaF, section 3.3): one more column of the table, corrupted as often as others."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "laaf"
    config.inputs.table.label_as_feature = True
    return config
