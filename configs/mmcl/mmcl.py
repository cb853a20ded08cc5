"""MMCL (Hager et al., CVPR 2023): contrast of images with their rows of the table, at temperature 0.1.

"dvm": DVM-CAR, the default. "cardiac": UK Biobank. "digits": the set that ships with the package. "cars": drawn cars
at 32 pixels. Their values are in `mmcl_jax/config/presets.py`. "own": a store of one's own, see
`mmcl_jax/config/own.py`. The table's projector is that of the released code; `mmcl/mmcl_linear_projector` has the
paper's.
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
