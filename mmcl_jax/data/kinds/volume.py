"""Volumes: images with an axis of depth."""

from mmcl_jax.data.kinds.image import ImageKind


class VolumeKind(ImageKind):
    """`[depth, height, width, channels]`; otherwise like images.

    Example:
      >>> import numpy as np
      >>> from mmcl_jax.data.schema import Entry, Schema
      >>> schema = Schema({"ct": Entry(kind="volume", shape=(2, 4, 4, 1), dtype="float16")})
      >>> rows = np.zeros((3, 2, 4, 4, 1), np.float16)
      >>> rows[1, 0, 0, 0, 0] = np.nan
      >>> VolumeKind().fault(rows, "ct", schema, ())
      (1, 'it has a value that is not finite')
    """

    name = "volume"
    axes = ("depth", "height", "width", "channels")
    baseline = "voxels"
