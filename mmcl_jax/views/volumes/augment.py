"""The views `augment_volume` (random crop, flips, rotation and intensity) and `resized_volume`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from mmcl_jax.views import geometry as affine
from mmcl_jax.views.base import VIEWS, Apply, Fitted, View, Viewed
from mmcl_jax.views.pixels import check_size, require, select_picture, to_unit
from mmcl_jax.views.volumes.sampling import Volume, draw_turn, sampled, turned

Volumes = Shaped[Array, "B D H W C"] | Shaped[Array, "B V D H W C"]
Size = tuple[int, int, int] | None
_PARTS = ("crop", "position", "flip", "scale", "shift", "probability")


@VIEWS.register("resized_volume")
def resized_volume(*, modality: str = "volume", size: Size = None, picture: int | None = None) -> View:
    """Return the volume as floats (see `pixels.to_unit`), resized to `size` (depth, height, width) unless that is None.

    Where a row has several volumes, `picture` is the index of the volume to use; None draws an index.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> view = resized_volume(size=(4, 4, 4))
      >>> seen = view.plain(jnp.zeros((2, 8, 8, 8, 1), jnp.uint8), jax.random.split(jax.random.key(0), 2), {})
      >>> seen.values.shape, seen.geometry.shape
      ((2, 4, 4, 4, 1), (2, 3, 4))
    """
    check_size(size)
    view = _resized(size, picture)
    return View(modality=modality, takes="volume", apply=view, plain=view)


@VIEWS.register("augment_volume")
def augment_volume(
    *,
    modality: str = "volume",
    size: Size = None,
    picture: int | None = None,
    probability: float = 1.0,
    crop_scale: tuple[float, float] = (0.5, 1.0),
    flip: tuple[float, float, float] = (0.5, 0.5, 0.5),
    scale: float = 0.1,
    shift: float = 0.1,
    rotation: float = 0.0,
) -> View:
    """Return a random turn, crop, resize, flips and change of intensity of a volume; plain, it is `resized_volume`.

    A crop takes the same share of every side, in whole voxels, at a uniform position; it is resized trilinearly, not
    antialiased. Then voxels are multiplied by a factor uniform in [1 - scale, 1 + scale], and a number uniform in
    [-shift, shift] is added, the same for all voxels and channels; nothing is clipped.

    Args:
      modality: the input that is transformed.
      size: (depth, height, width) of the result; None keeps the stored size.
      picture: index of the volume to use where a row has several; None draws an index.
      probability: share of volumes that are augmented; all others are only resized.
      crop_scale: range of the crop's share of the volume; (1, 1) turns cropping off.
      flip: probabilities of a flip along depth, height and width.
      scale: largest distance of the factor from 1, in [0, 1].
      shift: largest number that is added, in the units of the view.
      rotation: largest turn about each axis before the crop, in degrees, about the centre in voxels; what comes from
        beyond the volume is 0. 0 turns rotation off.

    Raises:
      ValueError: a probability or range is out of bounds.

    Example:
      >>> view, volumes = augment_volume(size=(4, 4, 4)), jnp.zeros((2, 8, 8, 8, 1), jnp.uint16)
      >>> jax.eval_shape(lambda *inputs: view(*inputs).values, volumes, jax.random.key(0)).shape
      (2, 4, 4, 4, 1)
    """
    check_size(size)
    for name, values in {"probability": (probability,), "flip": flip, "scale": (scale,)}.items():
        require(all(0 <= value <= 1 for value in values), f"{name} must lie in [0, 1], not {values}")
    require(0 < crop_scale[0] <= crop_scale[1] <= 1, f"crop_scale must rise within (0, 1], not {crop_scale}")
    require(shift >= 0, f"shift must not be negative, as {shift} is")
    require(rotation >= 0, f"rotation must not be negative, as {rotation} is")

    def transform(key: Key[Array, ""], volume: Volume) -> tuple[Float[Array, "d h w C"], Float[Array, "3 4"]]:
        stored = volume.shape[:3]
        target = size or stored
        keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
        share = jax.random.uniform(keys["crop"], minval=crop_scale[0], maxval=crop_scale[1]) ** (1 / 3)
        sides = jnp.array(stored, jnp.float32)
        extent = jnp.maximum(jnp.round(sides * share), 1)
        origin = jnp.floor(jax.random.uniform(keys["position"], (3,)) * (sides - extent + 1))
        mirrored = jax.random.uniform(keys["flip"], (3,)) < jnp.array(flip)
        geometry = affine.composed(affine.window(origin, extent, target), affine.flipped(target, mirrored))
        if rotation:
            geometry = affine.composed(affine.turned(stored, draw_turn(key, rotation)), geometry)
        if probability < 1:
            augmented = jax.random.uniform(keys["probability"]) < probability
            geometry = jnp.where(augmented, geometry, affine.resized(stored, target))
        cropped = (turned if rotation else sampled)(volume, geometry, target)
        factor = jax.random.uniform(keys["scale"], minval=1 - scale, maxval=1 + scale)
        changed = cropped * factor + jax.random.uniform(keys["shift"], minval=-shift, maxval=shift)
        return (jnp.where(augmented, changed, cropped) if probability < 1 else changed), geometry[:3]

    def view(volumes: Volumes, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        values, geometry = jax.vmap(transform)(keys, to_unit(select_picture(volumes, keys, picture, axes=3)))
        return Viewed(values, geometry=geometry)

    return View(modality=modality, takes="volume", apply=view, plain=_resized(size, picture))


def _resized(size: Size, picture: int | None) -> Apply:
    def view(volumes: Volumes, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        volumes = select_picture(volumes, keys, picture, axes=3)
        stored = volumes.shape[1:4]
        target = size or stored
        geometry = affine.resized(stored, target)
        values = jax.vmap(lambda volume: sampled(volume, geometry, target))(to_unit(volumes))
        return Viewed(values, geometry=jnp.broadcast_to(geometry[:3], (volumes.shape[0], 3, 4)))

    return view
