"""From views to features: encoders of each kind of input, and the projectors behind them."""

from mmcl_jax.encoders import cnn, cnn3d, fusions, mlp, projectors, resnet, text, vector
from mmcl_jax.encoders.base import ENCODERS, PROJECTORS, Encoder, Projector, ViewSpec
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.keys import FeatureKey, parse_key
from mmcl_jax.encoders.model import Model, build_model, view_specs

__all__ = [
    "ENCODERS",
    "PROJECTORS",
    "Encoder",
    "FeatureKey",
    "Features",
    "Model",
    "Projector",
    "ViewSpec",
    "build_model",
    "cnn",
    "cnn3d",
    "fusions",
    "mlp",
    "parse_key",
    "projectors",
    "resnet",
    "text",
    "vector",
    "view_specs",
]
