"""The table views: `scarf` (corruption by empirical marginals) and `rows`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mmcl_jax.views.base import VIEWS, View

Rows = Float[Array, "B F"]


@VIEWS.register("rows")
def rows(*, modality: str = "table") -> View:
    """The encoded row itself."""

    def view(table: Rows, keys: Key[Array, "B"], population: Array | None) -> Rows:
        del keys, population
        return table

    return View(modality, "table", view)


@VIEWS.register("scarf")
def scarf(*, modality: str = "table", rate: float = 0.3) -> View:
    """SCARF corruption: in every row exactly `int(rate * F)` columns, drawn without replacement, are overwritten.

    Each overwritten value is that column's value in a training row drawn uniformly, independently per column: a draw
    from the empirical marginal, which may be the value that was there. Categories are corrupted as codes, before
    one-hot coding. MMCL uses a rate of 0.3, the SCARF paper 0.6. (MMCL's released code loses the first training row to
    a header it does not have, and draws validation corruptions from the validation split; neither is done here.)

    Raises:
      ValueError: the rate is outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], not {rate}")

    def one(key: Key[Array, ""], row: Float[Array, "F"], population: Float[Array, "N F"]) -> Float[Array, "F"]:
        columns = row.shape[0]
        choose, draw = jax.random.split(key)
        corrupted = jax.random.permutation(choose, columns) < int(rate * columns)
        source = jax.random.randint(draw, (columns,), 0, population.shape[0])
        return jnp.where(corrupted, population[source, jnp.arange(columns)], row)

    def view(table: Rows, keys: Key[Array, "B"], population: Float[Array, "N F"] | None) -> Rows:
        if population is None:
            raise ValueError("the scarf view needs the training rows to draw from")
        return jax.vmap(one, (0, 0, None))(keys, table, population)

    return View(modality, "table", view)
