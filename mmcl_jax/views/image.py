"""The image views: `augment` (SimCLR's augmentation, every part optional) and `resized`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, Shaped

from mmcl_jax.views import geometry as affine
from mmcl_jax.views import image_ops as ops
from mmcl_jax.views.base import VIEWS, Apply, Fitted, View, Viewed
from mmcl_jax.views.pixels import check_size, require, select_picture, to_unit
from mmcl_jax.views.sampling import Blur, sample

Images = Shaped[Array, "B H W C"] | Shaped[Array, "B V H W C"]
Size = tuple[int, int] | None
Picture = int | None


@VIEWS.register("resized")
def resized(*, modality: str = "image", size: Size = None, picture: Picture = None) -> View:
    """Return the image as floats (see `pixels.to_unit`), resized to `size` (height, width) unless that is None.

    Where a row has several images, `picture` is the index of the image to use; None draws an index.

    Raises:
      ValueError: a size is not positive.

    Example:
      >>> images = jnp.array([[[[0], [255]], [[0], [255]]]], jnp.uint8)  # [1, 2, 2, 1]
      >>> print(resized(size=(1, 2))(images, train=False).values.ravel())
      [0. 1.]
    """
    check_size(size)
    view = _resized(size, picture)
    return View(modality=modality, takes="image", apply=view, plain=view)


@VIEWS.register("augment")
def augment(
    *,
    modality: str = "image",
    size: Size = None,
    picture: Picture = None,
    probability: float = 1.0,
    crop_scale: tuple[float, float] = (0.08, 1.0),
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.5,
    jitter: float = 0.8,
    brightness: float = 0.8,
    contrast: float = 0.8,
    saturation: float = 0.8,
    hue: float = 0.0,
    grayscale: float = 0.2,
    blur: float = 0.5,
    blur_kernel: int = 29,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
    rotation: float = 0.0,
) -> View:
    """Return SimCLR's random augmentation (Chen et al., ICML 2020, appendix A), as strong as MMCL's on DVM by default.

    Images may have any number of channels. Contrast, saturation and greyscale need a grey level: the luma of three
    channels, whatever they show, as in MMCL's code, else the mean of the channels; see `image_ops.grey`.

    Order: rotation, colour jitter, greyscale, blur, resized crop, flip (MMCL's order; rotation belongs to its cardiac
    recipe, where it also comes before the crop).

    Args:
      modality: the input that is transformed.
      size: (height, width) of the result; None keeps the stored size.
      picture: index of the image to use where a row has several; None draws an index.
      probability: share of images that are augmented; all others are only resized (MMCL's code: 0.95).
      crop_scale: range of the crop's area, as a share of the image; (1, 1) turns cropping off, whatever the ratio.
      crop_ratio: range of the crop's aspect ratio (width / height).
      flip: probability of a horizontal flip.
      jitter: probability of the colour jitter.
      brightness: strength; see `image_ops.draw_jitter`.
      contrast: strength.
      saturation: strength; it does not apply to images of one channel.
      hue: largest turn of the hue, as a share of the circle (MMCL: 0); it applies to images of three channels.
      grayscale: probability of turning grey.
      blur: probability of the Gaussian blur.
      blur_kernel: odd window of the blur, in pixels of the stored image.
      blur_sigma: range of the blur's standard deviation, in pixels.
      rotation: largest turn, in degrees; 0 turns rotation off.

    Raises:
      ValueError: a probability or range is out of bounds.

    Example:
      >>> view, images = augment(size=(4, 4), blur_kernel=3), jnp.zeros((2, 8, 8, 3), jnp.uint8)
      >>> jax.eval_shape(lambda *inputs: view(*inputs).values, images, jax.random.key(0)).shape
      (2, 4, 4, 3)
    """
    check_size(size)
    for name, value in {
        "probability": probability, "flip": flip, "jitter": jitter, "grayscale": grayscale, "blur": blur,
    }.items():  # fmt: skip
        require(0 <= value <= 1, f"{name} is a probability, not {value}")
    for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
        require(value >= 0, f"{name} must not be negative, as {value} is")
    require(0 <= hue <= 0.5, f"hue must lie in [0, 0.5], not {hue}")
    require(0 < crop_scale[0] <= crop_scale[1] <= 1, f"crop_scale must rise within (0, 1], not {crop_scale}")
    require(0 < crop_ratio[0] <= crop_ratio[1], f"crop_ratio must be positive and rise, not {crop_ratio}")
    require(0 < blur_sigma[0] <= blur_sigma[1], f"blur_sigma must be positive and rise, not {blur_sigma}")
    require(blur_kernel > 0 and blur_kernel % 2 == 1, f"blur_kernel must be odd and positive, not {blur_kernel}")
    require(rotation >= 0, f"rotation must not be negative, as {rotation} is")

    def transform(
        key: Key[Array, ""], image: Shaped[Array, "H W C"]
    ) -> tuple[Float[Array, "h w C"], Float[Array, "2 3"]]:
        stored = image.shape[0], image.shape[1]
        target = size or stored
        keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
        augmented = ops.sometimes(keys["probability"], probability)

        def drawn(part: str, share: float) -> tuple[Bool[Array, ""], Key[Array, ""]]:
            """Return whether this image gets a part, and the key of what the part draws."""
            choose, use = jax.random.split(keys[part])
            return augmented & ops.sometimes(choose, share), use

        turned = jnp.eye(3)
        if rotation:
            angle = jax.random.uniform(keys["rotation"], minval=-rotation, maxval=rotation)
            degrees = jnp.where(augmented, angle, 0)
            image, turned = ops.rotate(image, degrees), affine.rotated(stored, degrees)
        # Bytes are cut into channels, not floats: else the compiler stores the whole image as floats.
        channels = [to_unit(plane) for plane in ops.planes(image)]
        if jitter:
            happens, use = drawn("jitter", jitter)
            strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
            channels = ops.either(happens, ops.color_jitter(use, channels, **strengths), channels)
        if grayscale:
            happens, _ = drawn("grayscale", grayscale)
            channels = ops.either(happens, ops.grey(channels), channels)
        gaussian = None
        if blur:
            happens, use = drawn("blur", blur)
            deviation = jax.random.uniform(use, minval=blur_sigma[0], maxval=blur_sigma[1])
            window = min(blur_kernel, 2 * min(stored) - 1)  # a border is reflected at most once
            gaussian = Blur(jnp.where(happens, deviation, 0), window)
        origin, extent = jnp.zeros(2), jnp.array(stored, jnp.float32)
        if crop_scale != (1.0, 1.0):
            crop = ops.crop_window(keys["crop"], *stored, scale=crop_scale, ratio=crop_ratio)
            origin, extent = jnp.where(augmented, jnp.stack(crop), jnp.stack([origin, extent]))
        mirrored = jnp.array([False, True]) & augmented & ops.sometimes(keys["flip"], flip)
        values = sample(
            jnp.stack(channels, axis=2), target, origin=origin, extent=extent, mirrored=mirrored, blur=gaussian
        )
        geometry = affine.composed(turned, affine.window(origin, extent, target), affine.flipped(target, mirrored))
        return values, geometry[:2]

    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        values, geometry = jax.vmap(transform)(keys, select_picture(images, keys, picture, axes=2))
        return Viewed(values, geometry=geometry)

    return View(modality=modality, takes="image", apply=view, plain=_resized(size, picture))


def _resized(size: Size, picture: Picture) -> Apply:
    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        images = select_picture(images, keys, picture, axes=2)
        stored = images.shape[1], images.shape[2]
        target = size or stored
        origin, extent = jnp.zeros(2), jnp.array(stored, jnp.float32)
        values = to_unit(images)
        if target != stored:
            values = jax.vmap(lambda image: sample(image, target, origin=origin, extent=extent))(values)
        geometry = affine.window(origin, extent, target)[:2]
        return Viewed(values, geometry=jnp.broadcast_to(geometry, (images.shape[0], 2, 3)))

    return view


_PARTS = ("rotation", "jitter", "grayscale", "blur", "crop", "flip", "probability")
