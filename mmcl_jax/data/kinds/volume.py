"""Volumes: images with one more axis."""

from mmcl_jax.data.kinds.image import Image


class Volume(Image):
    """`[depth, height, width, channels]`; otherwise as images."""

    name = "volume"
    axes = ("depth", "height", "width", "channels")
    baseline = "voxels"
