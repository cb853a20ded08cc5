"""NNCLR (Dwibedi et al., ICCV 2021); ContIG's baseline, not in MMCL's paper. The queue is below the training rows."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, OwnData, is_small, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/simclr", data=data)
    config.name = "nnclr"
    small = is_small(data)
    width, out = (128, 64) if small else (2048, 256)
    config.projectors.image = projector("mlp_norm", hidden=(width,) if small else (width, width), out=out)
    config.predictors.image = projector("mlp_norm", hidden=(128,) if small else (4096,), out=out, out_bias=True)
    queue = min(512 if small else 16384, data.rows // 2 if isinstance(data, OwnData) else 16384)
    config.objective = (term("nnclr", between=("image_1", "image_2"), queue=queue),)
    return config
