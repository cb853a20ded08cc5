"""The view `augment` as one operation after the other, each of which makes an image: the usual form.

It draws what the view draws and uses the operations of `dm_pix`, `jax.image` and `jax.scipy`, so it is also what the
fused view is compared with in `tests/views/test_sampling.py`.
"""

from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from mmcl_jax.views import image_ops as draws
from mmcl_jax.views.image import _PARTS
from mmcl_jax.views.pixels import to_unit


def augment(images: jax.Array, keys: jax.Array, options: dict[str, Any]) -> jax.Array:
    """Return the views `[B, h, w, C]` of stored images `[B, H, W, C]`; `options` are all those of `views.augment`."""
    return jax.vmap(lambda key, image: _augment(key, image, options))(keys, to_unit(images))


def _augment(key: jax.Array, image: jax.Array, o: dict[str, Any]) -> jax.Array:
    size: tuple[int, int] = o["size"] or (image.shape[0], image.shape[1])
    keys = dict(zip(_PARTS, jax.random.split(key, len(_PARTS)), strict=True))
    plain = image

    def maybe(part: str, change: Any, image: jax.Array) -> jax.Array:
        choose, use = jax.random.split(keys[part])
        return jnp.where(draws.sometimes(choose, o[part]), change(use, image), image) if o[part] else image

    if o["rotation"]:
        image = _rotate(image, jax.random.uniform(keys["rotation"], minval=-o["rotation"], maxval=o["rotation"]))
    image = maybe("jitter", lambda key, x: _jitter(key, x, o), image)
    image = maybe("grayscale", lambda _, x: _grey(x), image)
    image = maybe("blur", lambda key, x: _blur(key, x, o), image)
    if o["crop_scale"] == (1.0, 1.0):
        image = _resize(image, size)
    else:
        window = draws.crop_window(keys["crop"], *image.shape[:2], scale=o["crop_scale"], ratio=o["crop_ratio"])
        image = _crop(image, *window, size)
    image = jnp.where(draws.sometimes(keys["flip"], o["flip"]), image[:, ::-1], image)
    return jnp.where(draws.sometimes(keys["probability"], o["probability"]), image, _resize(plain, size))


def _rotate(image: jax.Array, degrees: jax.Array) -> jax.Array:
    angle, (height, width, _) = jnp.deg2rad(degrees), image.shape
    y, x = jnp.meshgrid(
        jnp.linspace(-0.5, 0.5, height) * (height - 1), jnp.linspace(-0.5, 0.5, width) * (width - 1), indexing="ij"
    )
    source = [
        jnp.cos(angle) * y - jnp.sin(angle) * x + (height - 1) / 2,
        jnp.sin(angle) * y + jnp.cos(angle) * x + (width - 1) / 2,
    ]
    turn = lambda channel: map_coordinates(channel, source, order=0, mode="constant")  # noqa: E731
    return jax.vmap(turn, in_axes=2, out_axes=2)(image)


def _jitter(key: jax.Array, image: jax.Array, o: dict[str, Any]) -> jax.Array:
    strengths = {name: o[name] for name in ("brightness", "contrast", "saturation", "hue")}
    order, amounts = draws.draw_jitter(key, channels=image.shape[2], **strengths)

    def blend(image: jax.Array, other: jax.Array, share: jax.Array) -> jax.Array:
        return jnp.clip(share * image + (1 - share) * jnp.broadcast_to(other, image.shape), 0, 1)

    def turn(image: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):  # dm_pix adds a bool to a float
            return jnp.clip(dm_pix.adjust_hue(image, amounts[3]), 0, 1)

    steps = [
        lambda x: blend(x, jnp.zeros_like(x), amounts[0]),
        lambda x: blend(x, _grey(x).mean(axis=(0, 1), keepdims=True), amounts[1]),
        lambda x: blend(x, _grey(x), amounts[2]),
        turn,
    ]
    for index in range(len(order)):
        image = jax.lax.switch(order[index], steps[: len(order)], image)
    return image


def _grey(image: jax.Array) -> jax.Array:
    level = dm_pix.rgb_to_grayscale(image) if image.shape[2] == 3 else image.mean(axis=2, keepdims=True)
    return jnp.broadcast_to(level, image.shape)


def _blur(key: jax.Array, image: jax.Array, o: dict[str, Any]) -> jax.Array:
    window = min(o["blur_kernel"], 2 * min(image.shape[:2]) - 1)
    margin = window // 2
    padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    sigma = jax.random.uniform(key, minval=o["blur_sigma"][0], maxval=o["blur_sigma"][1])
    return dm_pix.gaussian_blur(padded, sigma, window, padding="VALID")


def _resize(image: jax.Array, size: tuple[int, int]) -> jax.Array:
    return jax.image.resize(image, (*size, image.shape[2]), "linear", antialias=False)


def _crop(image: jax.Array, origin: jax.Array, extent: jax.Array, size: tuple[int, int]) -> jax.Array:
    for axis in (0, 1):  # repeats the window's border outside it, so that no pixel beyond it is read
        first = origin[axis].astype(jnp.int32)
        last = first + extent[axis].astype(jnp.int32) - 1
        image = jnp.take(image, jnp.clip(jnp.arange(image.shape[axis]), first, last), axis=axis)
    factor = jnp.array(size, image.dtype) / extent
    shape = (*size, image.shape[2])
    return jax.image.scale_and_translate(image, shape, (0, 1), factor, -origin * factor, "linear", antialias=False)
