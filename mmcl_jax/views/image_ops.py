"""Augmentations of one image `[H, W, C]` of floats in [0, 1]; each takes its own random key.

They follow torchvision's transforms of float tensors, by which the published results were made: blends are clipped to
[0, 1], crop windows are integer, resizing is bilinear without antialiasing, and the blur reflects the border.
"""

import jax
import jax.numpy as jnp
from dm_pix import adjust_hue, gaussian_blur, rgb_to_grayscale
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Int, Key

Image = Float[Array, "H W C"]
_CROP_TRIES = 10


def sometimes(key: Key[Array, ""], probability: float) -> Bool[Array, ""]:
    """Return true with this probability."""
    return jax.random.uniform(key) < probability


def crop_window(
    key: Key[Array, ""], height: int, width: int, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Draw a window of an image: its first row and column, and its height and width, in whole pixels.

    The window's share of the area is uniform in `scale`, its aspect ratio log-uniform in `ratio`. The result is the
    first of ten draws that fits, at a uniform position; if none fits, the largest centred window of an allowed ratio.
    """
    area_key, ratio_key, position_key = jax.random.split(key, 3)
    area = height * width * jax.random.uniform(area_key, (_CROP_TRIES,), minval=scale[0], maxval=scale[1])
    log_ratio = jnp.log(jnp.asarray(ratio))
    aspect = jnp.exp(jax.random.uniform(ratio_key, (_CROP_TRIES,), minval=log_ratio[0], maxval=log_ratio[1]))
    w, h = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
    fallback = min(max(width / height, ratio[0]), ratio[1])
    best = jnp.argmax(fits)
    any_fits = fits.any()
    w = jnp.where(any_fits, w[best], jnp.minimum(width, round(height * fallback)).astype(w.dtype))
    h = jnp.where(any_fits, h[best], jnp.minimum(height, round(width / fallback)).astype(h.dtype))
    position = jax.random.uniform(position_key, (2,))
    free = jnp.stack([height - h, width - w])
    origin = jnp.where(any_fits, jnp.floor(position * (free + 1)), jnp.floor(free / 2))
    return origin, jnp.stack([h, w])


def resize_window(
    image: Image, origin: Float[Array, "2"], extent: Float[Array, "2"], *, size: tuple[int, int]
) -> Float[Array, "h w C"]:
    """Resize the window at `origin` (row, column) of `extent` (height, width); bilinear, not antialiased."""
    factor = jnp.array(size, image.dtype) / extent
    window = _hold_outside(image, origin, extent)
    return jax.image.scale_and_translate(
        window, (*size, image.shape[2]), (0, 1), factor, -origin * factor, method="linear", antialias=False
    )


def _hold_outside(image: Image, origin: Float[Array, "2"], extent: Float[Array, "2"]) -> Image:
    """Repeat the window's border outside it, so that resizing the window never reads pixels beyond it."""
    for axis in (0, 1):
        index = jnp.arange(image.shape[axis])
        first = origin[axis].astype(index.dtype)
        last = first + extent[axis].astype(index.dtype) - 1
        image = jnp.take(image, jnp.clip(index, first, last), axis=axis)
    return image


def resize(image: Image, size: tuple[int, int]) -> Float[Array, "h w C"]:
    """Resize bilinearly, not antialiased; return an image that has this size unchanged."""
    if image.shape[:2] == size:
        return image
    return jax.image.resize(image, (*size, image.shape[2]), "linear", antialias=False)


def horizontal_flip(key: Key[Array, ""], image: Image, *, probability: float) -> Image:
    """Exchange left and right with this probability."""
    return jnp.where(sometimes(key, probability), image[:, ::-1], image)


def rotate(image: Image, degrees: Float[Array, ""]) -> Image:
    """Turn the image clockwise about its centre; nearest neighbour, black outside."""
    angle = jnp.deg2rad(degrees)
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
    """Change brightness, contrast, saturation and hue in a random order; see `draw_jitter` and `adjust`."""
    order, amounts = draw_jitter(
        key, channels=image.shape[2], brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
    )
    return adjust(image, order, amounts)


def draw_jitter(
    key: Key[Array, ""], *, channels: int, brightness: float, contrast: float, saturation: float, hue: float
) -> tuple[Int[Array, "n"], Float[Array, "n"]]:
    """Draw the order of the adjustments of an image of so many channels, and the amount of each, for `adjust`.

    The factors of brightness, contrast and saturation are uniform in [max(0, 1 - s), 1 + s], where s is the strength;
    the hue turns by a share of the circle uniform in [-hue, hue]. An image of one channel has no saturation, and only
    an image of three channels has a hue; other images keep theirs, as grey images do in torchvision.
    """
    order_key, *keys = jax.random.split(key, 5)
    bounds = [(max(0.0, 1 - strength), 1 + strength) for strength in (brightness, contrast, saturation)]
    bounds = bounds[:2] if channels == 1 else bounds
    if hue and channels == 3:
        bounds.append((-hue, hue))
    drawn = [jax.random.uniform(key, minval=low, maxval=high) for key, (low, high) in zip(keys, bounds, strict=False)]
    return jax.random.permutation(order_key, len(drawn)), jnp.stack(drawn)


def adjust(image: Image, order: Int[Array, "n"], amounts: Float[Array, "n"]) -> Image:
    """Adjust brightness, contrast, saturation and hue (the first n of them) by these amounts, in this order.

    The first three blend the image with black, with its mean grey level, and with its own grey version; an amount of 1
    changes nothing. The amount of the hue is a share of the circle.
    """

    def blend(image: Image, other: Float[Array, "..."], share: Float[Array, ""]) -> Image:
        return jnp.clip(share * image + (1 - share) * jnp.broadcast_to(other, image.shape), 0, 1)

    steps = [
        lambda x: blend(x, jnp.zeros_like(x), amounts[0]),
        lambda x: blend(x, grey(x).mean(axis=(0, 1), keepdims=True), amounts[1]),
        lambda x: blend(x, grey(x), amounts[2]),
        lambda x: _turn_hue(x, amounts[3]),
    ]
    for index in range(len(order)):
        image = jax.lax.switch(order[index], steps[: len(order)], image)
    return image


def _turn_hue(image: Image, turn: Float[Array, ""]) -> Image:
    with jax.numpy_dtype_promotion("standard"):  # dm_pix adds a bool to a float
        return jnp.clip(adjust_hue(image, turn), 0, 1)


def grey(image: Image) -> Image:
    """Return each pixel's grey level in every channel: the luma (ITU-R 601) of three channels, else their mean.

    Three channels count as red, green and blue even where they are moments of a heartbeat, as in torchvision and
    therefore in MMCL's cardiac experiments. torchvision defines no grey level of 2, 4 or more channels.
    """
    if image.shape[2] == 1:
        return image
    if image.shape[2] == 3:
        return jnp.broadcast_to(rgb_to_grayscale(image), image.shape)
    return jnp.broadcast_to(image.mean(axis=2, keepdims=True), image.shape)


def blur(key: Key[Array, ""], image: Image, *, kernel: int, sigma: tuple[float, float]) -> Image:
    """Blur by a Gaussian with a standard deviation (pixels) uniform in `sigma`; see `gaussian`."""
    return gaussian(image, jax.random.uniform(key, minval=sigma[0], maxval=sigma[1]), kernel=kernel)


def gaussian(image: Image, sigma: Float[Array, ""], *, kernel: int) -> Image:
    """Blur with a standard deviation of `sigma` pixels over an odd window of `kernel`, the border reflected."""
    margin = kernel // 2
    padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    return gaussian_blur(padded, sigma, kernel, padding="VALID")
