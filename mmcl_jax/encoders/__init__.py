"""From views to features: image and table encoders, and the projectors behind them."""

from mmcl_jax.encoders import cnn, mlp, projectors, resnet
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.model import Model, build_model

__all__ = ["ENCODERS", "PROJECTORS", "Features", "Model", "build_model", "cnn", "mlp", "projectors", "resnet"]
