"""The image views: `augment` (SimCLR's augmentation, every part optional) and `resized`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from mmcl_jax.views import image_ops as ops
from mmcl_jax.views.base import VIEWS, Apply, Fitted, View, Viewed

Images = UInt8[Array, "B H W C"] | UInt8[Array, "B V H W C"]
Size = tuple[int, int] | None
Picture = int | None


@VIEWS.register("resized")
def resized(*, modality: str = "image", size: Size = None, picture: Picture = None) -> View:
    """The image itself: floats in [0, 1], resized to `size` (height, width) if that is given.

    Of rows with several pictures, `picture` says which by its place; None takes one at random.
    """
    _check_size(size)
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
    """SimCLR's random augmentation, with the strengths MMCL used on DVM as defaults.

    Works on images of any number of channels. Contrast, saturation and greyscale need a grey level: the luma of three
    channels, whatever these are, as in MMCL's code, else the mean of the channels; see `image_ops.grey`.

    Order: rotation, colour jitter, greyscale, blur, resized crop, flip (MMCL's order; rotation belongs to its cardiac
    recipe, where it also comes before the crop).

    Args:
      modality: which modality it is a view of.
      size: (height, width) of the result; None keeps the stored size.
      picture: place of the one that is taken, of rows with several; None takes one at random.
      probability: share of images that are augmented at all; the others are only resized (MMCL's code: 0.95).
      crop_scale: area of the crop, as a share of the image; (1, 1) with any ratio leaves out cropping.
      crop_ratio: aspect ratio (width / height) of the crop.
      flip: probability of a horizontal flip.
      jitter: probability of the colour jitter.
      brightness: strength, see `image_ops.draw_jitter`.
      contrast: strength.
      saturation: strength; images of one channel have none.
      hue: largest turn of the hue, as a share of the circle (MMCL: none); only images of three channels have one.
      grayscale: probability of turning grey.
      blur: probability of the Gaussian blur.
      blur_kernel: odd window of the blur, in pixels of the stored image.
      blur_sigma: range of the blur's standard deviation, in pixels.
      rotation: largest turn in degrees; 0 leaves it out.

    Raises:
      ValueError: a probability or range is out of bounds.
    """
    _check_size(size)
    for name, value in {
        "probability": probability, "flip": flip, "jitter": jitter, "grayscale": grayscale, "blur": blur,
    }.items():  # fmt: skip
        _require(0 <= value <= 1, f"{name} is a probability, not {value}")
    for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
        _require(value >= 0, f"{name} must not be negative, as {value} is")
    _require(0 <= hue <= 0.5, f"hue must lie in [0, 0.5], not {hue}")
    _require(0 < crop_scale[0] <= crop_scale[1] <= 1, f"crop_scale must rise within (0, 1], not {crop_scale}")
    _require(0 < crop_ratio[0] <= crop_ratio[1], f"crop_ratio must be positive and rise, not {crop_ratio}")
    _require(0 < blur_sigma[0] <= blur_sigma[1], f"blur_sigma must be positive and rise, not {blur_sigma}")
    _require(blur_kernel > 0 and blur_kernel % 2 == 1, f"blur_kernel must be odd and positive, not {blur_kernel}")
    _require(rotation >= 0, f"rotation must not be negative, as {rotation} is")

    def maybe(key: Array, share: float, change: Callable[[Array, Array], Array], image: Array) -> Array:
        if share == 0:
            return image
        choose, use = jax.random.split(key)
        return jnp.where(ops.sometimes(choose, share), change(use, image), image)

    def one(key: Key[Array, ""], image: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        target = size or (image.shape[0], image.shape[1])
        keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
        plain = image
        if rotation:
            image = ops.rotation(keys["rotation"], image, degrees=rotation)

        def change(key: Array, image: Array) -> Array:
            return ops.color_jitter(
                key, image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
            )

        image = maybe(keys["jitter"], jitter, change, image)
        image = maybe(keys["grayscale"], grayscale, lambda _, x: ops.grey(x), image)
        kernel = min(blur_kernel, 2 * min(image.shape[:2]) - 1)  # the border cannot be reflected further than it goes
        image = maybe(keys["blur"], blur, lambda k, x: ops.blur(k, x, kernel=kernel, sigma=blur_sigma), image)
        if crop_scale == (1.0, 1.0):
            image = ops.resize(image, target)
        else:
            image = ops.resized_crop(keys["crop"], image, size=target, scale=crop_scale, ratio=crop_ratio)
        image = ops.horizontal_flip(keys["flip"], image, probability=flip)
        if probability < 1:
            image = jnp.where(ops.sometimes(keys["probability"], probability), image, ops.resize(plain, target))
        return image

    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        return Viewed(jax.vmap(one)(keys, _to_unit(_one_of(images, keys, picture))))

    return View(modality=modality, takes="image", apply=view, plain=_resized(size, picture))


def _resized(size: Size, picture: Picture) -> Apply:
    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        del fitted
        images = _one_of(images, keys, picture)
        resize = jax.vmap(lambda image: ops.resize(image, size or (image.shape[0], image.shape[1])))
        return Viewed(resize(_to_unit(images)))

    return view


_PICK = 0x71C  # a random stream beside those of `_PARTS`
_PARTS = ("rotation", "jitter", "grayscale", "blur", "crop", "flip", "probability")


def _one_of(images: Images, keys: Key[Array, "B"], picture: Picture) -> UInt8[Array, "B H W C"]:
    """One picture per row, where there are several."""
    if images.ndim == 4:
        _require(picture in (None, 0), f"picture {picture} was asked for and rows have one")
        return images
    pictures = images.shape[1]
    if picture is None:
        draw = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, _PICK), (), 0, pictures))
        return jax.vmap(lambda row, place: row[place])(images, draw(keys))
    _require(0 <= picture < pictures, f"picture {picture} was asked for and rows have {pictures}")
    return images[:, picture]


def _to_unit(images: UInt8[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    return images.astype(jnp.float32) / 255


def _check_size(size: Size) -> None:
    _require(size is None or min(size) > 0, f"size must be positive, not {size}")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
