"""Blur, crop, resizing and flip of an image as one matrix product for each axis.

Each of them is linear and treats rows and columns alike, so that their product is again a matrix from stored pixels to
pixels of the view: no image lies in memory between them, and the sums are those of the steps, to rounding.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Of a standard deviation in pixels: a narrower Gaussian is 1 at its centre and 0 one pixel beside it, in float32.
_NARROW = 0.05


class Blur(NamedTuple):
    """A Gaussian of a standard deviation in pixels, 0 for none, over an odd window; the border is reflected once."""

    deviation: Float[Array, ""]
    window: int


def sample(
    image: Float[Array, "H W C"],
    size: tuple[int, int],
    *,
    origin: Float[Array, "2"],
    extent: Float[Array, "2"],
    mirrored: Bool[Array, "2"] | None = None,
    blur: Blur | None = None,
) -> Float[Array, "h w C"]:
    """Blur an image, then resize a window of it, then mirror the result.

    The window has whole numbers as `origin` (row, column) and `extent` (height, width). It is resized bilinearly, not
    antialiased, and repeats its border, but its blurred pixels have seen pixels beyond it.

    Args:
      image: the stored pixels.
      size: (height, width) of the result.
      origin: the first row and column of the window.
      extent: the height and width of the window.
      mirrored: the axes along which the result is mirrored; None for none.
      blur: the blur; None for none. Its window is at most twice the shorter side of the image less 1.
    """
    rows, columns = (
        _weights(
            image.shape[axis],
            size[axis],
            origin=origin[axis],
            extent=extent[axis],
            mirrored=None if mirrored is None else mirrored[axis],
            blur=blur,
        )
        for axis in (0, 1)
    )
    return jnp.einsum("hH,HWC,wW->hwC", rows, image, columns, precision="highest")


def _weights(
    length: int,
    size: int,
    *,
    origin: Float[Array, ""],
    extent: Float[Array, ""],
    mirrored: Bool[Array, ""] | None,
    blur: Blur | None,
) -> Float[Array, "size length"]:
    """Return the share of every stored pixel in every pixel of the view, along one axis."""
    pixels = jnp.arange(size, dtype=jnp.float32)
    if mirrored is not None:
        pixels = jnp.where(mirrored, size - 1 - pixels, pixels)
    position = jnp.clip((pixels + 0.5) * (extent / size) - 0.5, 0, extent - 1)  # in the window
    before = jnp.floor(position)
    share = (position - before)[:, None]
    first = (origin + before)[:, None]
    stored = jnp.arange(length, dtype=jnp.float32)[None]
    return (1 - share) * _blurred(first, stored, blur) + share * _blurred(first + 1, stored, blur)


def _blurred(
    centre: Float[Array, "size 1"], stored: Float[Array, "1 length"], blur: Blur | None
) -> Float[Array, "size length"]:
    """Return the share of every stored pixel in the pixels at `centre` after the blur."""
    if blur is None:
        return (centre == stored).astype(jnp.float32)
    margin, last = blur.window // 2, stored.shape[1] - 1
    deviation = jnp.maximum(blur.deviation, _NARROW)

    def density(offset: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(jnp.abs(offset) <= margin, jnp.exp(-(offset**2) / (2 * deviation**2)), 0)

    total = density(jnp.arange(-margin, margin + 1, dtype=jnp.float32)).sum()
    inside = density(stored - centre)
    # A pixel beyond the border is a pixel inside, seen in a mirror that stands on the first or on the last pixel.
    low = jnp.where(stored > 0, density(stored + centre), 0)
    high = jnp.where(stored < last, density(2 * last - stored - centre), 0)
    return (inside + low + high) / total
