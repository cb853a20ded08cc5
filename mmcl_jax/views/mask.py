"""The view `mask`: columns of a row are hidden, or overwritten by draws, for masked table modelling."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed
from mmcl_jax.views.table import TableRows, check_corruption, unchanged

Row = Float[Array, "F"]


@VIEWS.register("mask")
def mask(
    *,
    modality: str = "table",
    rate: float = 0.5,
    count: Literal["exact", "bernoulli"] = "exact",
    fill: Literal["token", "marginal"] = "token",
    population: int | None = None,
) -> View:
    """Return the row with some of its observed columns masked; `Viewed.changed` marks the masked cells.

    A cell that is missing (NaN) in the row is never masked, and a missing value is never a draw. TIP (Du et al., ECCV
    2024) masks an exact half with a token, MT-CMTM (Roy et al., 2025) tosses a coin per column and draws from the
    column's marginal. The plain form is the encoded row itself;
    validation passes mask, too.

    Args:
      modality: the input that is transformed.
      rate: share of the observed columns that are masked.
      count: "exact" masks `round(rate * n)` of the n observed columns of a row, drawn uniformly without replacement
        (n = F in a complete row, as in TIP); "bernoulli" masks each with the probability `rate`, independently.
      fill: "token" writes NaN, which an encoder with the policy `missing="token"` or "indicator" replaces; "marginal"
        writes the column's value in a training row that has one, drawn uniformly and independently per cell, which may
        equal the old value. A column that no row of the population has is not masked.
      population: number of training rows that "marginal" draws from, a random sample; None for all, or, of a table
        above 256 MiB, as many as take 256 MiB.

    Raises:
      ValueError: the rate is outside [0, 1], the population is not positive, or given without "marginal", or the view
        is applied to so few columns that an exact rate above 0 masks none.

    Example:
      >>> rows = jnp.array([[0.5, 1.0, 2.0, jnp.nan]])
      >>> seen = mask(rate=1.0)(rows, jax.random.key(0))
      >>> seen.values.tolist(), seen.changed.tolist()
      ([[nan, nan, nan, nan]], [[True, True, True, False]])
    """
    check_corruption(rate=rate, population=population)
    if population is not None and fill != "marginal":
        raise ValueError(f"population: fill={fill!r} draws no values; leave it at None, or set fill='marginal'")

    def view(table: TableRows, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        choose, draw = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        observed = ~jnp.isnan(table)
        if fill == "token":
            changed = jax.vmap(chosen)(choose, observed)
            return Viewed(jnp.where(changed, jnp.nan, table), changed=changed)
        donors = jnp.cumsum(~jnp.isnan(fitted["population"]), axis=0, dtype=jnp.int32)
        changed = jax.vmap(chosen)(choose, observed & (donors[-1] > 0)[None])
        values = jax.vmap(drawn, (0, None, None))(draw, fitted["population"], donors)
        return Viewed(jnp.where(changed, values, table), changed=changed)

    def chosen(key: Key[Array, ""], observed: Bool[Array, "F"]) -> Bool[Array, "F"]:
        """Return which of the observed columns of a row are masked."""
        columns = observed.shape[0]
        if count == "bernoulli":
            return observed & (jax.random.uniform(key, (columns,)) < rate)
        if rate > 0 and round(rate * columns) == 0:
            raise ValueError(
                f"the view mask masks round({rate} * {columns}) = 0 columns of every row; raise rate, or set "
                f"count='bernoulli'"
            )
        order = jax.random.permutation(key, columns) + jnp.where(observed, 0, columns)  # observed columns first
        rank = jnp.argsort(jnp.argsort(order))
        counts = np.array([round(rate * some) for some in range(columns + 1)])
        return rank < jnp.asarray(counts)[observed.sum()]

    marginal = fill == "marginal"
    return View(
        modality=modality,
        takes="table",
        apply=view,
        plain=unchanged,
        validated=view,
        draws=marginal,
        hides=not marginal,
        population=population,
    )


def drawn(key: Key[Array, ""], population: Float[Array, "N F"], donors: Int[Array, "N F"]) -> Row:
    """Return an observed value of each column, drawn uniformly from the population; NaN for a column without any.

    `donors[i, f]` is the number of values that column f has in rows 0 to i.
    """
    columns = jnp.arange(population.shape[1])
    at = jax.random.randint(key, columns.shape, 0, jnp.maximum(donors[-1], 1))
    source = jax.vmap(lambda counts, index: jnp.searchsorted(counts, index, side="right"), (1, 0))(donors, at)
    return population.at[source, columns].get(mode="fill", fill_value=jnp.nan)
