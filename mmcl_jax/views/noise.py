"""The view `vector_noise`: a vector with columns of noise behind it, on which an explanation must find nothing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Shaped

from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.pixels import require
from mmcl_jax.views.vector import vector


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

    return View(modality=modality, takes="vector", apply=view, plain=view)
