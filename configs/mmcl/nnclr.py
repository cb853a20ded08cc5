"""NNCLR (Dwibedi et al., ICCV 2021); ContIG's baseline, not in MMCL's paper. The queue is below the training rows."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """The experiment."""
    config = load(f"mmcl/simclr:{data}")
    config.name = "nnclr"
    small = data in ("digits", "cars")
    width, out = (128, 64) if small else (2048, 256)
    config.projectors.image = projector("mlp_norm", hidden=(width,) if small else (width, width), out=out)
    config.predictors.image = projector("mlp_norm", hidden=(128,) if small else (4096,), out=out, out_bias=True)
    config.objective = (term("nnclr", between=("image_1", "image_2"), queue=512 if small else 16384),)
    return config
