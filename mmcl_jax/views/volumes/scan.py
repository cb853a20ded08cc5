"""The view `scan`: volumes of raw intensities, standardised by what the training volumes have in common."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from mmcl_jax.data.kinds.intensity import VOXELS, IntensityFit
from mmcl_jax.views import geometry as affine
from mmcl_jax.views.base import VIEWS, Apply, Fitted, View, Viewed
from mmcl_jax.views.pixels import check_size, require, select_picture, to_unit
from mmcl_jax.views.volumes import intensity
from mmcl_jax.views.volumes.sampling import Volume, draw_turn, turned

Volumes = Shaped[Array, "B D H W C"] | Shaped[Array, "B V D H W C"]
Size = tuple[int, int, int] | None
_PARTS = ("offset", "flip", "scale", "shift")


@VIEWS.register("scan")
def scan(
    *,
    modality: str = "volume",
    size: Size = None,
    picture: int | None = None,
    mask: bool = False,
    rescale: bool = False,
    histogram: str = "all",
    normalise: str = "above_mean",
    pad: int = 8,
    flip: tuple[float, float, float] = (0.5, 0.5, 0.5),
    rotation: float = 0.0,
    scale: float = 0.0,
    shift: float = 0.0,
) -> View:
    """Return a scan with standardised intensities, of which a random window is seen, mirrored at random.

    The steps, in this order, are those of the taxonomy of Fedorov et al. for OASIS-3, and each can be switched off:
    mask, rescaling to [0, 1], histogram standardisation by landmarks of the training volumes (Nyul et al., 2000),
    z-scores over the voxels above the mean, padding by zeros with a random crop, and flips. The paper's text has the
    histogram, the z-scores, crops and flips; its released config switches on the padding and the crop alone
    (`histogram="none"`, `normalise="none"`, `flip=(0, 0, 0)`). The plain form has neither crop nor flip, rotation or
    change of intensity.

    Landmarks and mask are fitted on the training rows, of the fold if there is one, and are kept with the run; see
    `data.kinds.intensity`. Channels are standardised each by itself.

    Args:
      modality: the input that is transformed.
      size: (depth, height, width) of the window; None for the stored size. The plain form sees the middle.
      picture: index of the volume to use where a row has several; None draws an index.
      mask: whether voxels outside the fitted mask get the lowest value of the volume.
      rescale: whether every volume is mapped linearly to [0, 1].
      histogram: whose quantiles are mapped to the landmarks: "all" voxels (torchio's default), those "above_mean" of
        their volume, as for heads in much empty space, or "none" for no standardisation.
      normalise: which voxels the mean and standard deviation of the z-scores are of: "all", "above_mean" (torchio's
        masking by > mean), or "none" for no z-scores.
      pad: number of zeros that are added on each of the six sides before the window is drawn; with 0 and no `size`, the
        window is the whole volume. After z-scores, 0 is the mean intensity.
      flip: probabilities of a flip along depth, height and width.
      rotation: largest turn about each axis, in degrees, trilinear; zeros lie beyond the volume. 0 turns it off.
      scale: largest distance of a random factor from 1, in [0, 1], that multiplies all voxels before the padding.
      shift: largest random number that is then added to all voxels.

    Raises:
      ValueError: an option is out of bounds, or the window is larger than the padded volume.

    Example:
      >>> view, volumes = scan(pad=1), jnp.arange(128, dtype=jnp.uint8).reshape(2, 4, 4, 4, 1)
      >>> landmarks = jnp.linspace(0.0, 100.0, 11)[None]
      >>> seen = view(volumes, jax.random.key(0), landmarks=landmarks)
      >>> seen.values.shape, seen.geometry.shape
      ((2, 4, 4, 4, 1), (2, 3, 4))
      >>> bool(jnp.allclose(*view(volumes, train=False, landmarks=landmarks).values, atol=1e-4))  # but for their unit
      True
    """
    check_size(size)
    for name, value in {"histogram": histogram, "normalise": normalise}.items():
        choices = (*VOXELS, "none")
        require(value in choices, f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}")
    for name, values in {"flip": flip, "scale": (scale,)}.items():
        require(all(0 <= value <= 1 for value in values), f"{name} must lie in [0, 1], not {values}")
    for name, least in {"pad": pad, "rotation": rotation, "shift": shift}.items():
        require(least >= 0, f"{name} must not be negative, as {least} is")

    def standardised(volume: Shaped[Array, "D H W C"], fitted: Fitted) -> Float[Array, "D H W C"]:
        if mask:
            volume = jnp.where(fitted["mask"][..., None], volume, volume.min(axis=(0, 1, 2)))
        stored = volume.reshape(-1, volume.shape[-1]).T
        values = to_unit(stored)
        if histogram != "none":
            counted = intensity.above_mean(values) if histogram == "above_mean" else jnp.ones(values.shape, bool)
            found = intensity.quantiles(stored, counted)
            if rescale:  # which changes no order
                low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
                found = (found - low) / jnp.where(high > low, high - low, 1)
                values = intensity.rescaled(values)
            values = intensity.standardised(values, found, fitted["landmarks"])
        elif rescale:
            values = intensity.rescaled(values)
        if normalise != "none":
            counted = intensity.above_mean(values) if normalise == "above_mean" else jnp.ones(values.shape, bool)
            values = intensity.z_scores(values, counted)
        return values.T.reshape(volume.shape)

    def augmented(volume: Volume, key: Key[Array, ""]) -> tuple[Float[Array, "d h w C"], Float[Array, "3 4"]]:
        stored, target = volume.shape[:3], size or volume.shape[:3]
        keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
        factor = jax.random.uniform(keys["scale"], minval=1 - scale, maxval=1 + scale)
        volume = volume * factor + jax.random.uniform(keys["shift"], minval=-shift, maxval=shift)
        beyond = jnp.array([length + 2 * pad - side for length, side in zip(stored, target, strict=True)])
        offset = jax.random.randint(keys["offset"], (3,), 0, beyond + 1) - pad
        mirrored = jax.random.uniform(keys["flip"], (3,)) < jnp.array(flip)
        window = affine.window(offset.astype(jnp.float32), jnp.array(target, jnp.float32), target)
        geometry = affine.composed(window, affine.flipped(target, mirrored))
        if rotation:
            geometry = affine.composed(affine.turned(stored, draw_turn(key, rotation)), geometry)
            return turned(volume, geometry, target), geometry[:3]
        return _window(volume, offset, target, pad, mirrored), geometry[:3]

    def middle(volume: Volume) -> tuple[Float[Array, "d h w C"], Float[Array, "3 4"]]:
        target = size or volume.shape[:3]
        offset = jnp.array([(length - side) // 2 for length, side in zip(volume.shape[:3], target, strict=True)])
        window = affine.window(offset.astype(jnp.float32), jnp.array(target, jnp.float32), target)
        return _window(volume, offset, target, pad, jnp.zeros(3, bool)), window[:3]

    def form(augments: bool) -> Apply:
        def view(volumes: Volumes, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
            volumes = select_picture(volumes, keys, picture, axes=3)
            _check_window(size, volumes.shape[1:4], pad)
            values = jax.vmap(lambda volume: standardised(volume, fitted))(volumes)
            values, geometry = jax.vmap(augmented)(values, keys) if augments else jax.vmap(middle)(values)
            return Viewed(values, geometry=geometry)

        return view

    fits = IntensityFit(landmarks=histogram, mask=mask) if mask or histogram != "none" else None
    return View(modality=modality, takes="volume", apply=form(True), plain=form(False), fits=fits)


def _window(
    volume: Volume,
    offset: Int[Array, "3"],
    size: tuple[int, ...],
    pad: int,
    mirrored: Bool[Array, "3"],
) -> Float[Array, "d h w C"]:
    """Return the window that begins at an offset, from -pad, with zeros beyond the volume, mirrored along axes."""
    padded = jnp.pad(volume, [(pad, pad)] * 3 + [(0, 0)])
    cut = jax.lax.dynamic_slice(padded, [*(offset + pad), 0], [*size, volume.shape[3]])
    for axis in range(3):
        cut = jnp.where(mirrored[axis], jnp.flip(cut, axis), cut)
    return cut


def _check_window(size: Size, stored: tuple[int, ...], pad: int) -> None:
    fits = size is None or all(side <= length + 2 * pad for side, length in zip(size, stored, strict=True))
    require(fits, f"size {size} is larger than the volume of {stored} with a pad of {pad} on each side")
