"""The vector views: `vector`, scaled, and `vector_scarf`, corrupted by empirical marginals."""

from jaxtyping import Array, Float, Key, Shaped

from mmcl_jax.data.kinds.vector import z_scores
from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.table import check_corruption, corrupted

Vectors = Shaped[Array, "B F"]


@VIEWS.register("vector")
def vector(*, modality: str = "vector") -> View:
    """Return the vector in standard deviations of its features over the training rows; missing values become 0.

    With `config.inputs.NAME.missing = "mode"`, missing values are the most frequent value of their feature; with
    `scale = "none"`, values are as they are stored, and missing ones the mean or mode.

    Example:
      >>> import jax.numpy as jnp
      >>> fitted = {"mean": jnp.array([1.0, 0.0]), "std": jnp.array([2.0, 1.0])}
      >>> print(vector()(jnp.array([[3, -127]], jnp.int8), train=False, **fitted).values)
      [[1. 0.]]
    """
    return View(modality=modality, takes="vector", apply=_scaled, plain=_scaled)


@VIEWS.register("vector_scarf")
def vector_scarf(*, modality: str = "vector", rate: float = 0.3, population: int | None = None) -> View:
    """Return SCARF's corruption of the features of a vector, then scale it as `vector` does; see `table.scarf`.

    `int(rate * F)` of `F` features are overwritten. The plain form is the scaled vector.

    Args:
      modality: the input that is transformed.
      rate: share of the features that are overwritten.
      population: number of training rows to draw values from, a random sample that every device holds; None for all,
        or as many as take 256 MiB.

    Raises:
      ValueError: the rate is outside [0, 1], or the population is not positive.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> fitted = {"mean": jnp.zeros(4), "std": jnp.ones(4), "population": jnp.ones((9, 4))}
      >>> float(vector_scarf(rate=0.5)(jnp.zeros((1, 4)), jax.random.key(0), **fitted).values.sum())
      2.0
    """
    check_corruption(rate=rate, population=population)

    def view(rows: Vectors, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        corrupt = corrupted(rows, keys, fitted["population"], rate=rate)
        return Viewed(_scaled(corrupt.values, keys, fitted).values, changed=corrupt.changed)

    return View(modality=modality, takes="vector", apply=view, plain=_scaled, draws=True, population=population)


def _scaled(rows: Vectors, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
    del keys
    values: Float[Array, "B F"] = z_scores(rows, fitted["mean"], fitted["std"], fitted.get("fill"))
    return Viewed(values)
