"""Affine maps from the pixels of a view to the pixels of the stored array.

A map over n axes is a matrix `[m, m]`, m = n + 1, on homogeneous indices (row, column, 1) of pixel centres, float32.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Affine = Float[Array, "m m"]


def window(origin: Float[Array, "n"], extent: Float[Array, "n"], size: tuple[int, ...]) -> Affine:
    """Return the map of a window that begins at `origin`, spans `extent` pixels and is resized to `size`.

    The outer edges of the window, half a pixel beyond its first and last centres, map to the edges of the view.
    """
    step = extent.astype(jnp.float32) / jnp.array(size, jnp.float32)
    return _affine(jnp.diag(step), origin + (step - 1) / 2)


def resized(shape: tuple[int, ...], size: tuple[int, ...]) -> Affine:
    """Return the map of an array of this shape that is resized to `size`."""
    return window(jnp.zeros(len(shape)), jnp.array(shape, jnp.float32), size)


def flipped(size: tuple[int, ...], axes: Bool[Array, "n"]) -> Affine:
    """Return the map of an array of `size` that is mirrored along these axes."""
    last = jnp.array(size, jnp.float32) - 1
    return _affine(jnp.diag(jnp.where(axes, -1.0, 1.0)), jnp.where(axes, last, 0.0))


def rotated(size: tuple[int, int], degrees: Float[Array, ""]) -> Affine:
    """Return the map of an image of `size` that is turned clockwise about its centre; see `image_ops.rotate`."""
    angle = jnp.deg2rad(degrees)
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    centre = (jnp.array(size, jnp.float32) - 1) / 2
    return _affine(turn, centre - jnp.dot(turn, centre, precision="highest"))


def moved(
    size: tuple[int, int], *, degrees: Float[Array, ""], scale: Float[Array, ""], shift: Float[Array, "2"]
) -> Affine:
    """Return the map of an image of `size` that is turned clockwise and enlarged about its centre, then shifted."""
    angle = jnp.deg2rad(degrees)
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]) / scale
    centre = (jnp.array(size, jnp.float32) - 1) / 2
    return _affine(turn, centre - jnp.dot(turn, centre + shift, precision="highest"))


def turned(shape: tuple[int, ...], degrees: Float[Array, "3"]) -> Affine:
    """Return the map of a volume of this shape that is turned about its centre, about one axis after the other.

    The angle of an axis turns the other two, in voxels; the volume keeps its shape.
    """
    turn = jnp.eye(3, dtype=jnp.float32)
    for axis in range(3):
        angle = jnp.deg2rad(degrees[axis])
        first, second = (other for other in range(3) if other != axis)
        one = jnp.eye(3, dtype=jnp.float32)
        one = one.at[first, first].set(jnp.cos(angle)).at[second, second].set(jnp.cos(angle))
        one = one.at[first, second].set(-jnp.sin(angle)).at[second, first].set(jnp.sin(angle))
        turn = jnp.dot(turn, one, precision="highest")
    centre = (jnp.array(shape, jnp.float32) - 1) / 2
    return _affine(turn, centre - jnp.dot(turn, centre, precision="highest"))


def composed(*maps: Affine) -> Affine:
    """Return the map of a view made by these steps, the first step first."""
    product = maps[0]
    for step in maps[1:]:  # in full float32: by default accelerators multiply in fewer bits, an error of many pixels
        product = jnp.dot(product, step, precision="highest")
    return product


def _affine(linear: Float[Array, "n n"], offset: Float[Array, "n"]) -> Affine:
    top = jnp.concatenate([linear, offset[:, None]], axis=1)
    bottom = jnp.zeros((1, top.shape[1])).at[0, -1].set(1.0)
    return jnp.concatenate([top, bottom]).astype(jnp.float32)
