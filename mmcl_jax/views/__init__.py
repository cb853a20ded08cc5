"""Views: the transforms from stored samples to the inputs of encoders, on the accelerator.

Importing a view registers it: a new view is a file here and a line in this list. A view also works without a config:
`augment(size=(32, 32))(images, jax.random.key(0)).values`.
"""

from mmcl_jax.views.base import VIEWS, View, Viewed, apply_views, asked_of_volumes, view_shape
from mmcl_jax.views.drawn import noisy as noisy
from mmcl_jax.views.drawn import rotated as rotated
from mmcl_jax.views.drawn import vector_noise as vector_noise
from mmcl_jax.views.frontal import frontal as frontal
from mmcl_jax.views.image import augment as augment
from mmcl_jax.views.image import resized as resized
from mmcl_jax.views.mask import mask as mask
from mmcl_jax.views.report import report as report
from mmcl_jax.views.table import rows as rows
from mmcl_jax.views.table import scarf as scarf
from mmcl_jax.views.text import tokens as tokens
from mmcl_jax.views.vector import vector as vector
from mmcl_jax.views.vector import vector_scarf as vector_scarf
from mmcl_jax.views.volumes.augment import augment_volume as augment_volume
from mmcl_jax.views.volumes.augment import resized_volume as resized_volume
from mmcl_jax.views.volumes.scan import scan as scan

__all__ = ["VIEWS", "View", "Viewed", "apply_views", "asked_of_volumes", "view_shape"]
