"""MMCL (Hager et al., CVPR 2023): contrast of images with their table rows, at temperature 0.1.

The data are "dvm" (DVM-CAR, the default), "cardiac" (UK Biobank), "digits" (shipped with the package), "cars" (drawn
cars at 32 pixels) or "own" (your own store, see `mmcl_jax/config/own.py`); `mmcl_jax/config/presets.py` has the values.
The table's projector is that of the released code; `mmcl/mmcl_linear_projector` has the paper's.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input()}
    config.views = {"image": base.augment(), "table": base.corrupt()}
    config.encoders = {"image": base.image_encoder(), "table": base.table_encoder()}
    config.projectors = {"image": base.projector(), "table": base.projector()}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    return config
