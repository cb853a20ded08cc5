"""Augmentation on the accelerator: what the model sees of each modality of each sample."""

from mmcl_jax.views import image, table, text, vector, volume
from mmcl_jax.views.base import VIEWS, View, Viewed, apply_views, view_shape

__all__ = ["VIEWS", "View", "Viewed", "apply_views", "image", "table", "text", "vector", "view_shape", "volume"]
