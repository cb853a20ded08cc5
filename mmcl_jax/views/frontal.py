"""The view `frontal`, of radiographs: LoVT's augmentation, whose plain form pads images to squares."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from mmcl_jax.views import geometry as affine
from mmcl_jax.views import image_ops as ops
from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.image import Images, Picture, Size
from mmcl_jax.views.pixels import check_size, require, select_picture, to_unit
from mmcl_jax.views.sampling import Blur, sample


@VIEWS.register("frontal")
def frontal(
    *,
    modality: str = "image",
    size: Size = None,
    picture: Picture = None,
    channels: int | None = None,
    probability: float = 1.0,
    crop_scale: tuple[float, float] = (0.6, 1.0),
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.5,
    rotation: float = 20.0,
    shift: float = 0.1,
    zoom: tuple[float, float] = (0.95, 1.05),
    jitter: float = 1.0,
    brightness: float = 0.4,
    contrast: float = 0.4,
    blur: float = 1.0,
    blur_kernel: int = 23,
    blur_sigma: tuple[float, float] = (0.1, 3.0),
) -> View:
    """Return LoVT's random augmentation of a radiograph (Mueller et al., ECCV 2022, supplement; at 224 pixels).

    Order: resized crop, flip, affine map (nearest pixel, black outside), brightness and contrast in a random order,
    blur. All but the crop work in pixels of the view, so that `blur_kernel` and `blur_sigma` belong to its size.

    The plain form pads the image with black to a square, by half of the missing pixels, rounded down, on both sides,
    and resizes the square. Where a row has several images, a step of training draws one, which all views of the row
    show, so that two views show the same body; the plain form shows the first.

    LoVT's image-only baselines (SimCLR, BYOL, PixelPro) have other options; see `config.chest`. Pixels stay in [0, 1]:
    the encoder normalises them (`pixels="imagenet"`), in place of the data set's mean and standard deviation.

    Args:
      modality: the input that is transformed.
      size: (height, width) of the result; None for a square with the longer side of the stored image.
      picture: index of the image to use where a row has several; None draws an index.
      channels: number of equal channels that a grey image is repeated to, such as 3 for weights of ImageNet; None
        keeps the stored channels.
      probability: share of images that are augmented; all others are only resized.
      crop_scale: range of the crop's area, as a share of the image; (1, 1) pads to a square in place of cropping.
      crop_ratio: range of the crop's aspect ratio (width / height).
      flip: probability of a horizontal flip.
      rotation: largest turn, in degrees.
      shift: largest shift, as a share of the side, in whole pixels.
      zoom: range of the scale.
      jitter: probability that brightness and contrast change.
      brightness: strength s: the factor is uniform in [1 - s, 1 + s].
      contrast: strength.
      blur: probability of the Gaussian blur.
      blur_kernel: odd window of the blur, in pixels of the view.
      blur_sigma: range of the blur's standard deviation, in pixels of the view.

    Raises:
      ValueError: a probability or range is out of bounds, or an image of several channels is to be repeated.

    Example:
      >>> view, images = frontal(size=(4, 4), channels=3), jnp.full((2, 6, 8, 1), 255, jnp.uint8)
      >>> view(images, jax.random.key(0)).values.shape
      (2, 4, 4, 3)
      >>> print(view(images, train=False).values[0, :, 0, 0])  # black above and below
      [0.5 1.  1.  0.5]
    """
    check_size(size)
    require(channels is None or channels > 0, f"channels must be positive, not {channels}")
    for name, value in {"probability": probability, "flip": flip, "jitter": jitter, "blur": blur}.items():
        require(0 <= value <= 1, f"{name} is a probability, not {value}")
    for name, value in {"brightness": brightness, "contrast": contrast, "rotation": rotation}.items():
        require(value >= 0, f"{name} must not be negative, as {value} is")
    require(0 <= shift < 1, f"shift must lie in [0, 1), not {shift}")
    for name, (low, high), most in (
        ("crop_scale", crop_scale, 1.0), ("crop_ratio", crop_ratio, None), ("zoom", zoom, None),
        ("blur_sigma", blur_sigma, None),
    ):  # fmt: skip
        require(0 < low <= high, f"{name} must be positive and rise, not {(low, high)}")
        require(most is None or high <= most, f"{name} must rise within (0, 1], not {(low, high)}")
    require(blur_kernel > 0 and blur_kernel % 2 == 1, f"blur_kernel must be odd and positive, not {blur_kernel}")
    moves = bool(rotation or shift or zoom != (1.0, 1.0))

    def transform(
        key: Key[Array, ""], image: Shaped[Array, "H W C"]
    ) -> tuple[Float[Array, "h w C"], Float[Array, "2 3"]]:
        stored = image.shape[0], image.shape[1]
        target = size or (max(stored), max(stored))
        keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
        augmented = ops.sometimes(keys["probability"], probability)
        origin, extent = _square(stored)  # of an image that is not cropped
        if crop_scale != (1.0, 1.0):
            crop = ops.crop_window(keys["crop"], *stored, scale=crop_scale, ratio=crop_ratio)
            origin, extent = jnp.where(augmented, jnp.stack(crop), jnp.stack([origin, extent]))
        mirrored = jnp.array([False, True]) & augmented & ops.sometimes(keys["flip"], flip)
        values = sample(to_unit(image), target, origin=origin, extent=extent, mirrored=mirrored)
        geometry = affine.composed(affine.window(origin, extent, target), affine.flipped(target, mirrored))
        if moves:
            drawn = _drawn_move(keys["move"], target, rotation=rotation, shift=shift, zoom=zoom)
            moved = jnp.where(augmented, drawn, jnp.eye(3))
            values, geometry = ops.moved(values, moved[:2]), affine.composed(geometry, moved)
        if jitter:
            choose, use = jax.random.split(keys["jitter"])
            happens = augmented & ops.sometimes(choose, jitter)
            planes = ops.planes(values)
            changed = ops.color_jitter(use, planes, brightness=brightness, contrast=contrast, saturation=0.0, hue=0.0)
            values = jnp.stack(ops.either(happens, changed, planes), axis=2)
        if blur:
            choose, use = jax.random.split(keys["blur"])
            deviation = jax.random.uniform(use, minval=blur_sigma[0], maxval=blur_sigma[1])
            window = min(blur_kernel, 2 * min(target) - 1)  # a border is reflected at most once
            gaussian = Blur(jnp.where(augmented & ops.sometimes(choose, blur), deviation, 0), window)
            values = sample(values, target, origin=jnp.zeros(2), extent=jnp.array(target, jnp.float32), blur=gaussian)
        return values, geometry[:2]

    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        one = select_picture(images, fitted.get("picture_keys", keys), picture, axes=2)
        values, geometry = jax.vmap(transform)(keys, one)
        return Viewed(_repeated(values, channels), geometry=geometry)

    def plain(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        one = select_picture(images, keys, picture or 0, axes=2)
        stored = one.shape[1], one.shape[2]
        target = size or (max(stored), max(stored))
        origin, extent = _square(stored)
        values = jax.vmap(lambda image: sample(image, target, origin=origin, extent=extent))(to_unit(one))
        geometry = jnp.broadcast_to(affine.window(origin, extent, target)[:2], (len(one), 2, 3))
        return Viewed(_repeated(values, channels), geometry=geometry)

    return View(modality=modality, takes="image", apply=view, plain=plain)


def _square(stored: tuple[int, int]) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Return the window of an image with its padding to a square, which lacks a pixel where the padding is odd."""
    missing = jnp.array([(max(stored) - side) // 2 for side in stored], jnp.float32)
    return -missing, jnp.array(stored, jnp.float32) + 2 * missing


def _drawn_move(
    key: Key[Array, ""], size: tuple[int, int], *, rotation: float, shift: float, zoom: tuple[float, float]
) -> Float[Array, "3 3"]:
    """Return the map of an image of `size` that is turned, zoomed and shifted at random."""
    turn_key, zoom_key, shift_key = jax.random.split(key, 3)
    degrees = jax.random.uniform(turn_key, minval=-rotation, maxval=rotation)
    scale = jax.random.uniform(zoom_key, minval=zoom[0], maxval=zoom[1])
    most = jnp.array(size, jnp.float32) * shift
    shifts = jnp.round(jax.random.uniform(shift_key, (2,), minval=-most, maxval=most))
    return affine.moved(size, degrees=degrees, scale=scale, shift=shifts)


def _repeated(values: Float[Array, "B h w C"], channels: int | None) -> Float[Array, "B h w c"]:
    if channels is None or values.shape[-1] == channels:
        return values
    require(values.shape[-1] == 1, f"channels is {channels}, and the images have {values.shape[-1]}; give None")
    return jnp.broadcast_to(values, (*values.shape[:-1], channels))


_PARTS = ("crop", "flip", "move", "jitter", "blur", "probability")
