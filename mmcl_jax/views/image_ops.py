"""Random draws and changes of colour of one image; each draw takes its own random key.

They follow torchvision's transforms of float tensors, by which the published results were made: blends are clipped to
[0, 1], crop windows are integer, and a rotation takes the nearest pixel.

Changes of colour take and return the image's channels as separate arrays. So they are functions of one pixel, which XLA
fuses into one pass over the stored pixels; a sum over an axis of three channels would end the fusion.
"""

import jax
import jax.numpy as jnp
from dm_pix import adjust_hue
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

Planes = list[Float[Array, "H W"]]  # the channels of an image, in [0, 1]
_CROP_TRIES = 10
_LUMA = (0.2989, 0.587, 0.114)
_CONTRAST, _SATURATION, _HUE = 1, 2, 3  # indices of the adjustments, the first of which is brightness


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


def rotate(image: Shaped[Array, "H W C"], degrees: Float[Array, ""]) -> Shaped[Array, "H W C"]:
    """Turn the image clockwise about its centre; nearest neighbour, black outside."""
    angle = jnp.deg2rad(degrees)
    height, width = image.shape[:2]
    y, x = jnp.meshgrid(
        jnp.linspace(-0.5, 0.5, height) * (height - 1), jnp.linspace(-0.5, 0.5, width) * (width - 1), indexing="ij"
    )
    source_y = jnp.cos(angle) * y - jnp.sin(angle) * x + (height - 1) / 2
    source_x = jnp.sin(angle) * y + jnp.cos(angle) * x + (width - 1) / 2
    return _nearest(image, source_y, source_x)


def moved(image: Shaped[Array, "H W C"], source: Float[Array, "2 3"]) -> Shaped[Array, "H W C"]:
    """Return the image whose pixel at index p shows the index `source @ (p, 1)`; nearest neighbour, black outside."""
    points = jnp.meshgrid(*(jnp.arange(side, dtype=jnp.float32) for side in image.shape[:2]), indexing="ij")
    return _nearest(image, *(line[0] * points[0] + line[1] * points[1] + line[2] for line in source))


def _nearest(
    image: Shaped[Array, "H W C"], rows: Float[Array, "H W"], columns: Float[Array, "H W"]
) -> Shaped[Array, "H W C"]:
    """Return the pixels nearest to these indices; black outside."""
    row, column = (jax.lax.round(index).astype(jnp.int32) for index in (rows, columns))
    return image.at[row, column].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def planes(image: Shaped[Array, "H W C"]) -> list[Shaped[Array, "H W"]]:
    """Return the channels of an image as separate arrays."""
    return [image[:, :, channel] for channel in range(image.shape[2])]


def either(condition: Bool[Array, ""], image: Planes, other: Planes) -> Planes:
    """Return the image where the condition holds, else the other image."""
    return [jnp.where(condition, *pair) for pair in zip(image, other, strict=True)]


def color_jitter(
    key: Key[Array, ""], image: Planes, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Planes:
    """Change brightness, contrast, saturation and hue in a random order; see `draw_jitter` and `adjust`."""
    order, amounts = draw_jitter(
        key, channels=len(image), brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
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


def adjust(image: Planes, order: Int[Array, "n"], amounts: Float[Array, "n"]) -> Planes:
    """Adjust brightness, contrast, saturation and hue (the first n of them) by these amounts, in this order.

    The first three blend the image with black, with its mean grey level, and with its own grey version; an amount of 1
    changes nothing. The amount of the hue is a share of the circle.
    """
    # Contrast alone needs more than a pixel: the mean, after what comes before it in this order. The pixels are read
    # twice, for the mean and for the result, so that none are stored between two adjustments.
    before = _adjust(image, order, amounts, count=jnp.argmax(order == _CONTRAST), mean=jnp.float32(0))
    return _adjust(image, order, amounts, count=jnp.int32(len(order)), mean=_level(before).mean())


def _adjust(
    image: Planes, order: Int[Array, "n"], amounts: Float[Array, "n"], *, count: Int[Array, ""], mean: Float[Array, ""]
) -> Planes:
    """Make the first `count` adjustments, where contrast blends with the grey level `mean`."""
    for index in range(len(order)):
        kind, amount = order[index], amounts[order[index]]
        other = jnp.where(kind == _SATURATION, _level(image), jnp.where(kind == _CONTRAST, mean, 0))
        adjusted = [jnp.clip(amount * plane + (1 - amount) * other, 0, 1) for plane in image]
        if len(order) > _HUE:
            adjusted = either(kind == _HUE, _turn_hue(image, amount), adjusted)
        image = either(index < count, adjusted, image)
    return image


def _turn_hue(image: Planes, turn: Float[Array, ""]) -> Planes:
    with jax.numpy_dtype_promotion("standard"):  # dm_pix adds a bool to a float
        return list(jnp.clip(adjust_hue(jnp.stack(image), turn, channel_axis=0), 0, 1))


def grey(image: Planes) -> Planes:
    """Return each pixel's grey level in every channel: the luma (ITU-R 601) of three channels, else their mean.

    Three channels count as red, green and blue even where they are moments of a heartbeat, as in torchvision and
    therefore in MMCL's cardiac experiments. torchvision defines no grey level of 2, 4 or more channels.
    """
    return [_level(image)] * len(image)


def _level(image: Planes) -> Float[Array, "H W"]:
    weights = _LUMA if len(image) == 3 else (1 / len(image),) * len(image)
    return sum((weight * plane for weight, plane in zip(weights, image, strict=True)), jnp.float32(0))
