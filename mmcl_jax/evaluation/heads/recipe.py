"""What the programs of supervised training are made from, and the augmentation among it."""

import dataclasses
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS

CROP_SCALE = (0.6, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides about the programs, apart from shapes.

    Attributes:
      graphdef: of an `nnx.Dict` of the encoders.
      modalities: whose pooled features are concatenated, in this order.
      augmentation: the name and the options of the training view of images; None if no image is used.
      dtype: of the computation.
      mesh: what training batches are divided over; all arrays of the model are on each of its devices.
    """

    graphdef: Any
    modalities: tuple[str, ...]
    augmentation: tuple[tuple[str, Any], ...] | None
    dtype: str
    mesh: Mesh


def augmentation_of(config: ConfigDict, *, probability: float) -> tuple[tuple[str, Any], ...]:
    """The run's own image augmentation (the first, if it has several), with crops of at least 0.6 of the area.

    Of rows with several pictures it takes one at random.

    Raises:
      UserError: the run augments no image, or `probability` is not one.
    """
    for name, spec in config.views.items():
        if spec.modality == "image" and spec.name == "augment":
            changed = {**spec, "crop_scale": CROP_SCALE, "probability": probability, "picture": None}
            VIEWS.build(ConfigDict(changed, convert_dict=False), f"config.views.{name}")
            return tuple(sorted(changed.items()))
    raise UserError("config.views: no view is an image that is augmented, as is needed to train on images.")
