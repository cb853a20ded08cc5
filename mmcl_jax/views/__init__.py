"""Augmentation on the accelerator: what the model sees of each modality of each sample.

A view can be used without a config: `augment(size=(32, 32))(images, jax.random.key(0)).values`.
"""

from mmcl_jax.views.base import VIEWS, View, Viewed, apply_views, view_shape
from mmcl_jax.views.image import augment, resized
from mmcl_jax.views.table import rows, scarf
from mmcl_jax.views.text import tokens
from mmcl_jax.views.vector import vector, vector_scarf
from mmcl_jax.views.volume import augment_volume, resized_volume

__all__ = [
    "VIEWS",
    "View",
    "Viewed",
    "apply_views",
    "augment",
    "augment_volume",
    "resized",
    "resized_volume",
    "rows",
    "scarf",
    "tokens",
    "vector",
    "vector_scarf",
    "view_shape",
]
