"""The table views: `scarf` (corruption by empirical marginals) and `rows`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, Shaped

from mmcl_jax.views.base import VIEWS, Fitted, View, Viewed

TableRows = Float[Array, "B F"]


def unchanged(values: Array, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
    """Return the values as they are, as plain views of tables do."""
    del keys, fitted
    return Viewed(values)


@VIEWS.register("rows")
def rows(*, modality: str = "table") -> View:
    """Return the encoded row as it is.

    Example:
      >>> print(rows()(jnp.array([[0.5, 2.0]]), train=False).values)
      [[0.5 2. ]]
    """
    return View(modality=modality, takes="table", apply=unchanged, plain=unchanged)


@VIEWS.register("scarf")
def scarf(*, modality: str = "table", rate: float = 0.3, population: int | None = None) -> View:
    """Return SCARF's corruption (Bahri et al., ICLR 2022, algorithm 1): overwrite `int(rate * F)` columns of every row.

    Columns are drawn without replacement. Each overwritten value is that column's value in a training row drawn
    uniformly, independently per column: a draw from the empirical marginal, which may equal the old value.
    Categories are corrupted as codes, before one-hot coding. MMCL uses a rate of 0.3, the SCARF paper 0.6. (MMCL's
    released code takes the first training row for a header, and draws validation corruptions from the validation split;
    this view does neither.) The plain form is the encoded row itself.

    Args:
      modality: the input that is transformed.
      rate: share of the columns that are overwritten.
      population: number of training rows to draw values from, a random sample; None for all, or, of a table above
        256 MiB, as many as take 256 MiB.

    Raises:
      ValueError: the rate is outside [0, 1], or the population is not positive.

    Example:
      >>> table, population = jnp.zeros((1, 4)), jnp.ones((9, 4))
      >>> view = scarf(rate=0.5)(table, jax.random.key(0), population=population)
      >>> float(view.values.sum()), int(view.changed.sum())  # two of four columns come from the population
      (2.0, 2)
    """
    check_corruption(rate=rate, population=population)

    def view(table: TableRows, keys: Key[Array, "B"], fitted: Fitted) -> Viewed:
        return corrupted(table, keys, fitted["population"], rate=rate)

    return View(modality=modality, takes="table", apply=view, plain=unchanged, draws=True, population=population)


def corrupted(
    rows: Shaped[Array, "B F"], keys: Key[Array, "B"], population: Shaped[Array, "N F"], *, rate: float
) -> Viewed:
    """Overwrite `int(rate * F)` columns of every row with draws from the population's marginals."""

    def corrupt_row(key: Key[Array, ""], row: Shaped[Array, "F"]) -> tuple[Shaped[Array, "F"], Bool[Array, "F"]]:
        columns = row.shape[0]
        choose, draw = jax.random.split(key)
        changed = jax.random.permutation(choose, columns) < int(rate * columns)
        source = jax.random.randint(draw, (columns,), 0, population.shape[0])
        return jnp.where(changed, population[source, jnp.arange(columns)], row), changed

    values, changed = jax.vmap(corrupt_row)(keys, rows)
    return Viewed(values, changed=changed)


def check_corruption(*, rate: float, population: int | None) -> None:
    """Raise `ValueError` unless the rate lies in [0, 1] and the population is positive."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], not {rate}")
    if population is not None and population < 1:
        raise ValueError(f"population must be positive, or None for all training rows, not {population}")
