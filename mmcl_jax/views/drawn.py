"""Views whose draws are part of the data: `rotated`, `noisy` and `vector_noise`.

The plain form draws as the training form does, so that validation, evaluation, embeddings and explanations see the same
data as training. But the training form draws anew at every step, and the plain form has one draw per example, a
function of the example's id alone: all seeds, methods and commands see the same rotated digit.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from mmcl_jax.views import geometry as affine
from mmcl_jax.views import image_ops as ops
from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.image import Images, Picture, Size, resized
from mmcl_jax.views.pixels import check_size, require, select_picture
from mmcl_jax.views.vector import vector

Range = Literal["clamp", "rescale"]


@VIEWS.register("rotated")
def rotated(*, modality: str = "image", size: Size = None, picture: Picture = None, degrees: float = 45.0) -> View:
    """Return the image turned by a random angle, as the first view of Two-View MNIST (Fedorov et al., section III-A).

    The angle is uniform in [-degrees, degrees]. A pixel takes the nearest stored pixel, and 0 outside the image, as in
    the released code. Then the image is resized as by `resized`. The plain form has one angle per example, drawn by the
    example's id.

    Args:
      modality: the input that is transformed.
      size: (height, width) of the result; None keeps the stored size.
      picture: index of the image to use where a row has several; None draws an index.
      degrees: the largest angle.

    Raises:
      ValueError: a size or the angle is not positive.

    Example:
      >>> view, images = rotated(degrees=20.0), jnp.full((2, 8, 8, 1), 255, jnp.uint8)
      >>> seen = view(images, jax.random.key(0))
      >>> seen.values.shape, seen.geometry.shape
      ((2, 8, 8, 1), (2, 2, 3))
    """
    check_size(size)
    require(degrees > 0, f"degrees must be positive, not {degrees}; the view 'resized' does not turn")
    resize = resized(size=size).plain

    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        images = select_picture(images, keys, picture, axes=2)
        stored = images.shape[1], images.shape[2]
        angles = jax.vmap(lambda key: jax.random.uniform(key, minval=-degrees, maxval=degrees))(keys)
        seen = resize(jax.vmap(ops.rotate)(images, angles), keys, fitted)
        window = affine.resized(stored, size or stored)
        turns = jax.vmap(lambda angle: affine.composed(affine.rotated(stored, angle), window)[:2])(angles)
        return Viewed(seen.values, geometry=turns)

    return View(modality=modality, takes="image", apply=view, plain=view, drawn=True)


@VIEWS.register("noisy")
def noisy(
    *,
    modality: str = "image",
    size: Size = None,
    picture: Picture = None,
    noise: float = 1.0,
    outside: Range = "clamp",
) -> View:
    """Return the image with noise, as the second view of Two-View MNIST (Fedorov et al., section III-A).

    The image is resized as by `resized`. Then a number uniform in [0, noise) is added to every pixel of every channel,
    and the sum returns to [0, 1]. The plain form has one draw per example, by the example's id.

    Args:
      modality: the input that is transformed.
      size: (height, width) of the result; None keeps the stored size.
      picture: index of the image to use where a row has several; None draws an index.
      noise: the upper end of the noise.
      outside: "clamp" clips what exceeds 1, as in the released code, so that a white pixel stays white; "rescale" maps
        the smallest and largest value of an image to 0 and 1, as the paper says.

    Raises:
      ValueError: a size or the noise is not positive.

    Example:
      >>> view, images = noisy(), jnp.full((2, 8, 8, 1), 255, jnp.uint8)
      >>> bool((view(images, jax.random.key(0)).values == 1).all())
      True
    """
    check_size(size)
    require(noise > 0, f"noise must be positive, not {noise}; the view 'resized' has none")
    resize = resized(size=size).plain

    def drawn(key: Key[Array, ""], image: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        noised = image + jax.random.uniform(key, image.shape, maxval=noise)
        if outside == "clamp":
            return jnp.clip(noised, 0, 1)
        low, high = noised.min(), noised.max()
        return (noised - low) / jnp.where(high > low, high - low, 1)

    def view(images: Images, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        seen = resize(select_picture(images, keys, picture, axes=2), keys, fitted)
        return Viewed(jax.vmap(drawn)(keys, seen.values), geometry=seen.geometry)

    return View(modality=modality, takes="image", apply=view, plain=view, drawn=True)


@VIEWS.register("vector_noise")
def vector_noise(*, modality: str = "vector", noise: int = 5) -> View:
    """Return the view `vector` with `noise` more columns, uniform in [0, 1), drawn anew at every step.

    With it, ContIG's code checks its explanations: a model of images and covariates that is explained well gives these
    columns next to no attribution. The plain form draws them once per row, from the row's id.

    Args:
      modality: the input that is transformed.
      noise: number of columns of noise.

    Raises:
      ValueError: the number is not positive.

    Example:
      >>> fitted = {"mean": jnp.zeros(2), "std": jnp.ones(2)}
      >>> view = vector_noise(noise=3)(jnp.ones((4, 2)), jax.random.key(0), **fitted)
      >>> view.values.shape, bool((view.values[:, 2:] < 1).all())
      ((4, 5), True)
    """
    require(noise > 0, f"noise must be positive, not {noise}; the view 'vector' has none")
    scaled = vector(modality=modality)

    def view(rows: Shaped[Array, "B F"], keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        values = scaled.apply(rows, keys, fitted).values
        drawn = jax.vmap(lambda key: jax.random.uniform(key, (noise,)))(keys)
        return Viewed(jnp.concatenate([values, drawn], axis=1))

    return View(modality=modality, takes="vector", apply=view, plain=view, drawn=True)
