"""Augmentations of one image `[H, W, C]` of floats in [0, 1]; each takes its own random key.

They follow torchvision's transforms on float tensors, which the published results were made with: blends that are
clipped to [0, 1], integer crop windows, bilinear resizing without antialiasing, reflected borders under the blur.
"""

import jax
import jax.numpy as jnp
from dm_pix import adjust_hue, gaussian_blur, rgb_to_grayscale
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Key

Image = Float[Array, "H W C"]
_CROP_TRIES = 10


def sometimes(key: Key[Array, ""], probability: float) -> Bool[Array, ""]:
    """True with this probability."""
    return jax.random.uniform(key) < probability


def resized_crop(
    key: Key[Array, ""], image: Image, *, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Float[Array, "h w C"]:
    """A random window resized to `size` (bilinear, not antialiased).

    The window's share of the area is uniform in `scale`, its aspect ratio log-uniform in `ratio`. Of ten draws the
    first that fits is taken; if none does, the largest centred window of an allowed ratio.
    """
    height, width = image.shape[:2]
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = height * width * jax.random.uniform(area_key, (_CROP_TRIES,), minval=scale[0], maxval=scale[1])
    log_ratio = jnp.log(jnp.asarray(ratio))
    aspect = jnp.exp(jax.random.uniform(ratio_key, (_CROP_TRIES,), minval=log_ratio[0], maxval=log_ratio[1]))
    w, h = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
    fallback = min(max(width / height, ratio[0]), ratio[1])
    best = jnp.argmax(fits)
    found = fits.any()
    w = jnp.where(found, w[best], jnp.minimum(width, round(height * fallback)).astype(w.dtype))
    h = jnp.where(found, h[best], jnp.minimum(height, round(width / fallback)).astype(h.dtype))
    place = jax.random.uniform(place_key, (2,))
    free = jnp.stack([height - h, width - w])
    origin = jnp.where(found, jnp.floor(place * (free + 1)), jnp.floor(free / 2))
    factor = jnp.array(size, image.dtype) / jnp.stack([h, w])
    window = _hold_outside(image, origin, jnp.stack([h, w]))
    return jax.image.scale_and_translate(
        window, (*size, image.shape[2]), (0, 1), factor, -origin * factor, method="linear", antialias=False
    )


def _hold_outside(image: Image, origin: Float[Array, "2"], extent: Float[Array, "2"]) -> Image:
    """Repeats the window's border outside it, so that resizing the window never sees what lies beyond."""
    for axis in (0, 1):
        index = jnp.arange(image.shape[axis])
        first = origin[axis].astype(index.dtype)
        last = first + extent[axis].astype(index.dtype) - 1
        image = jnp.take(image, jnp.clip(index, first, last), axis=axis)
    return image


def resize(image: Image, size: tuple[int, int]) -> Float[Array, "h w C"]:
    """Bilinear, not antialiased; the identity if the size is right already."""
    if image.shape[:2] == size:
        return image
    return jax.image.resize(image, (*size, image.shape[2]), "linear", antialias=False)


def horizontal_flip(key: Key[Array, ""], image: Image, *, probability: float) -> Image:
    """Left and right exchanged, with this probability."""
    return jnp.where(sometimes(key, probability), image[:, ::-1], image)


def rotation(key: Key[Array, ""], image: Image, *, degrees: float) -> Image:
    """Turned about its centre by an angle uniform in [-degrees, degrees]; nearest neighbour, black outside."""
    angle = jnp.deg2rad(jax.random.uniform(key, minval=-degrees, maxval=degrees))
    height, width = image.shape[:2]
    y, x = jnp.meshgrid(
        jnp.linspace(-0.5, 0.5, height) * (height - 1), jnp.linspace(-0.5, 0.5, width) * (width - 1), indexing="ij"
    )
    source_y = jnp.cos(angle) * y - jnp.sin(angle) * x + (height - 1) / 2
    source_x = jnp.sin(angle) * y + jnp.cos(angle) * x + (width - 1) / 2
    return jax.vmap(
        lambda channel: map_coordinates(channel, [source_y, source_x], order=0, mode="constant"), in_axes=2, out_axes=2
    )(image)


def color_jitter(
    key: Key[Array, ""], image: Image, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Image:
    """Brightness, contrast, saturation and hue changed in a random order.

    Each of the first three blends the image, by a factor uniform in [max(0, 1 - s), 1 + s], with black, with its mean
    grey level and with its own grey version; the hue turns by a share of the circle uniform in [-hue, hue]. On a
    one-channel image saturation and hue do nothing.
    """
    order_key, *keys = jax.random.split(key, 5)

    def factor(key: Key[Array, ""], strength: float) -> Float[Array, ""]:
        return jax.random.uniform(key, minval=max(0.0, 1 - strength), maxval=1 + strength)

    def blend(image: Image, other: Float[Array, "..."], share: Float[Array, ""]) -> Image:
        return jnp.clip(share * image + (1 - share) * jnp.broadcast_to(other, image.shape), 0, 1)

    steps = [
        lambda x: blend(x, jnp.zeros_like(x), factor(keys[0], brightness)),
        lambda x: blend(x, grey(x).mean(axis=(0, 1), keepdims=True), factor(keys[1], contrast)),
    ]
    if image.shape[2] == 3:
        steps.append(lambda x: blend(x, grey(x), factor(keys[2], saturation)))
        if hue:
            turn = jax.random.uniform(keys[3], minval=-hue, maxval=hue)
            steps.append(lambda x: _turn_hue(x, turn))
    order = jax.random.permutation(order_key, len(steps))
    for place in range(len(steps)):
        image = jax.lax.switch(order[place], steps, image)
    return image


def _turn_hue(image: Image, turn: Float[Array, ""]) -> Image:
    with jax.numpy_dtype_promotion("standard"):  # the library adds a truth value to a float
        return jnp.clip(adjust_hue(image, turn), 0, 1)


def grey(image: Image) -> Image:
    """The luma (ITU-R 601) in every channel; a one-channel image is grey already."""
    if image.shape[2] == 1:
        return image
    return jnp.broadcast_to(rgb_to_grayscale(image), image.shape)


def blur(key: Key[Array, ""], image: Image, *, kernel: int, sigma: tuple[float, float]) -> Image:
    """Gaussian blur with a standard deviation (pixels) uniform in `sigma`, over an odd window of `kernel` pixels."""
    width = jax.random.uniform(key, minval=sigma[0], maxval=sigma[1])
    margin = kernel // 2
    padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    return gaussian_blur(padded, width, kernel, padding="VALID")
