"""Volumes seen through an affine map, interpolated linearly."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from mmcl_jax.views import geometry as affine

Volume = Float[Array, "D H W C"]
_TURN = 0x707  # a random stream beside the parts of a view, so that views without a rotation draw as before


def sampled(volume: Volume, geometry: affine.Affine, size: tuple[int, ...]) -> Float[Array, "d h w C"]:
    """Interpolate the volume at the indices of a map that mixes no axes, linearly along one axis after the other."""
    for axis, length in enumerate(size):
        indices = geometry[axis, axis] * jnp.arange(length, dtype=jnp.float32) + geometry[axis, 3]
        indices = jnp.clip(indices, 0, volume.shape[axis] - 1)
        first = jnp.floor(indices).astype(jnp.int32)
        last = jnp.minimum(first + 1, volume.shape[axis] - 1)
        share = (indices - jnp.floor(indices)).reshape([length if other == axis else 1 for other in range(4)])
        volume = (1 - share) * jnp.take(volume, first, axis=axis) + share * jnp.take(volume, last, axis=axis)
    return volume


def turned(volume: Volume, geometry: affine.Affine, size: tuple[int, ...]) -> Float[Array, "d h w C"]:
    """Interpolate the volume trilinearly at the indices of any affine map; beyond the volume, values are 0."""
    points = jnp.stack(jnp.meshgrid(*(jnp.arange(length, dtype=jnp.float32) for length in size), indexing="ij"))
    indices = jnp.einsum("ij,j...->i...", geometry[:3, :3], points, precision="highest")
    indices = indices + geometry[:3, 3].reshape(3, 1, 1, 1)
    channels = [
        map_coordinates(volume[..., channel], list(indices), order=1, mode="constant")
        for channel in range(volume.shape[3])
    ]
    return jnp.stack(channels, axis=-1)


def draw_turn(key: Key[Array, ""], degrees: float) -> Float[Array, "3"]:
    """Draw an angle about each axis of a volume, uniform in [-degrees, degrees]; `key` is that of the whole view."""
    return jax.random.uniform(jax.random.fold_in(key, _TURN), (3,), minval=-degrees, maxval=degrees)
